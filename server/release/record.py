"""The record of a release, ``what-left.json``: run, rules, controls, what left, licences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echofm_core.models.weights_file import find_weights
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.array_files import load_metadata
from echofm_core.runtime.errors import CheckpointError, ReleaseError
from echofm_core.runtime.installed_code import software
from echofm_core.runtime.text import many
from server.norm_bound import LEAST
from server.release.what_left import SiteFacts, server_software, sites_of

if TYPE_CHECKING:
    from echofm_core.plan.document import Plan

#: What is said of a licence that nobody has named.
UNKNOWN = "unknown, to be filled in"
#: Name under which `--licence` names the licence of the weights that the plan starts from.
START = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """A technical control: what it is, how it stood in this run, and where it is in the code."""

    name: str
    setting: str
    where: str


def make_record(
    run: Path, plan: Plan, digest: str, faults: Sequence[str], licences: Mapping[str, str]
) -> dict[str, Any]:
    """All that is known of what a run's sites let leave, in plain values.

    Args:
        run: Run folder.
        plan: Its plan.
        digest: Of its final weights; "" where there are none.
        faults: Why the run is not finished; none where it is.
        licences: By :data:`START`, or the name of a site or data set, as the command was given.

    Raises:
        ReleaseError: A licence is of something else.
    """
    sites = sites_of(run, plan)
    data = _data(run, sites)
    if others := sorted(set(licences) - {START, *data}):
        raise ReleaseError(
            f"--licence names {others[0]!r}, which this run does not have; it has {START}, "
            f"{', '.join(data) or 'and no site'}."
        )
    return {
        "schema": 1,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": plan.run_name(),
        "plan_hash": plan.digest(),
        "weights_digest": digest,
        "finished": not faults,
        "unfinished_because": list(faults),
        "controls": [asdict(control) for control in controls(plan, sites)],
        "delta": None if plan.privacy.kind is PrivacyKind.NONE else plan.privacy.delta,
        "sites": {name: asdict(facts) for name, facts in sites.items()},
        "software": {
            "coordinator": server_software(run) or "not recorded",
            "release made with": software(),
        },
        "licences": {
            "start weights": _start_licence(plan, licences),
            "data": {name: licences.get(name, UNKNOWN) for name in data},
        },
    }


def controls(plan: Plan, sites: Mapping[str, SiteFacts]) -> Iterator[Control]:
    """The controls between a site's patients and a released model, as they stood in a run."""
    yield Control(
        name="approval of the plan by each site, for the code that it had installed",
        setting=_by_hash(sites, "approval_hash"),
        where="client/approval.py",
    )
    yield Control(
        name="no code comes with a run",
        setting="at every site that `echofm client start` runs",
        where="client/bundle.py",
    )
    yield Control(
        name="policy of each site, which no message of a server widens",
        setting=_by_hash(sites, "policy_hash"),
        where="client/policy.py",
    )
    yield Control(
        name="fewest patients behind any count, loss, score or weight",
        setting=", ".join(
            f"{name} {facts.min_patients}" for name, facts in sites.items() if facts.min_patients
        )
        or "not recorded",
        where="client/site.py",
    )
    yield Control(
        name="one list of what may cross, and no more can be sent",
        setting="always",
        where="echofm_core/contract.py, echofm_core/wire.py",
    )
    yield Control(
        name="the decoder stays at its site",
        setting="no: the plan shares it" if plan.pretrain.share_decoder else "yes",
        where="client/policy.py",
    )
    yield Control(
        name="groups of fine-tuning that stay at their site (personal)",
        setting=", ".join([*plan.personal.groups, *_adapters(plan), *_sent_once(plan)]) or "none",
        where="client/training.py",
    )
    yield Control(
        name="noise (DP-SGD at the site)",
        setting=_noise(plan),
        where="echofm_core/training/steps/private.py",
    )
    yield Control(
        name="bounds on each update: names, shapes, types, finite values, counts, norm",
        setting=_bounds(plan),
        where="server/admission.py, server/norm_bound.py",
    )
    yield Control(
        name="bounds on each test result: names of planned metrics, values that they can have",
        setting="always",
        where="server/result_admission.py",
    )
    yield Control(
        name="record at the site of all that left it, chained by hashes",
        setting=_by_hash(sites, "audit_head"),
        where="client/audit.py",
    )
    yield Control(
        name="secure aggregation",
        setting="none: the coordinator received the weights of each site by themselves",
        where="not there",
    )


def _adapters(plan: Plan) -> list[str]:
    return ["local adapters"] if plan.personal.lora_rank else []


def _sent_once(plan: Plan) -> list[str]:
    return ["sent once, at the end"] if plan.personal.share_final else []


def _by_hash(sites: Mapping[str, SiteFacts], name: str) -> str:
    """Sites all of whose answers came with such a hash, and the others."""
    there = [
        site
        for site, facts in sites.items()
        if facts.answers and all(getattr(answer, name) for answer in facts.answers)
    ]
    without = [site for site in sites if site not in there]
    words = [f"{listed}: {', '.join(of)}" for listed, of in (("yes", there), ("no", without)) if of]
    return "; ".join(words) or "no site took part"


def _noise(plan: Plan) -> str:
    asked = plan.privacy
    if asked.kind is PrivacyKind.NONE:
        return "none: weights left without noise"
    dial = f"epsilon at most {asked.epsilon:g}" if asked.epsilon else "noise as the plan says"
    if asked.noise_multiplier:
        dial = f"noise multiplier {asked.noise_multiplier:g}"
    drawn = "the operating system" if asked.secure else "the plan's seed, which can be taken away"
    return f"{dial}, delta {asked.delta:g}, clipping norm {asked.clip_norm:g}, drawn from {drawn}"


def _bounds(plan: Plan) -> str:
    federation = plan.federation
    ratio = f"at most {federation.max_norm_ratio:g} times the median norm, from {LEAST} sites on"
    return "; ".join(
        [
            ratio if federation.max_norm_ratio else "no bound relative to the other sites",
            f"norm at most {federation.max_update_norm:g}"
            if federation.max_update_norm
            else "no absolute bound on the norm",
            f"at most {many(federation.max_clips, 'clip')}",
        ]
    )


def _start_licence(plan: Plan, licences: Mapping[str, str]) -> dict[str, str]:
    """Of the weights that the plan starts from, as far as their own file says it."""
    name = plan.model.start
    if not name:
        return {"digest": "", "licence": "none needed: the run began with random weights"}
    known = licences.get(START, "")
    return {"digest": name, "licence": known or _imported(plan, name) or UNKNOWN}


def _imported(plan: Plan, name: str) -> str:
    """What the import of public weights knows of their licence, where they still lie there."""
    from echofm_core.models.checkpoints.importer import LICENCE

    try:
        about = load_metadata(find_weights(Path(plan.machine.start)))
    except CheckpointError:
        return ""
    imported = about.get("digest") == name and "layout" in about
    return LICENCE.replace("**", "") if plan.machine.start and imported else ""


def _data(run: Path, sites: Mapping[str, SiteFacts]) -> list[str]:
    """Data sets where the run folder names them, as a simulation does; else the sites."""
    from echofm_core.report.run_files import read_run

    table = read_run(run).sites
    named = {str(dataset) for dataset in table["dataset"]} - {"not reported"}
    return sorted(named) or list(sites)
