"""Who takes part: sites are asked who they are before anything else."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from flwr.serverapp import Grid

from echofm_core.contract import (
    DECODER,
    HEADS,
    TRUNK,
    Action,
    Instruction,
    Phase,
    SiteDescription,
)
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.names import EVERY_SITE, site_name_fault
from echofm_core.runtime.text import many
from echofm_core.training.config import FinetuneConfig
from server.events import Event, EventKind, OnEvent
from server.phase import Participant
from server.replies import open_replies
from server.wire import read_reply, reasons, sentence, to_message

#: Seconds between two looks for sites that are not there yet.
LOOK = 2.0
#: Seconds that a site has to say who it is.
PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One site that answered."""

    node: int
    about: SiteDescription


def gather_sites(
    grid: Grid,
    plan: Plan,
    run: str,
    scratch: Path,
    on_event: OnEvent,
    *,
    expected: Sequence[str] = (),
    wait_seconds: float = 600.0,
    least: int | None = None,
) -> dict[str, Site]:
    """Ask every node who it is, until all expected sites are there.

    Args:
        grid: Where the nodes are.
        plan, run: Sent along.
        scratch: Folder for early replies.
        on_event: Shows who is waited for.
        expected: Names of sites to wait for; where they are given, no other takes part.
        wait_seconds: How long.
        least: Sites to wait for where no name is expected; None: ``federation.min_sites``, which
            is a quorum of training.

    Returns:
        Site name -> site, in name order.

    Raises:
        FederationError: Sites are missing after that time, or two call themselves the same.
    """
    question = Instruction(
        action=Action.DESCRIBE, round=0, plan=plan.to_json(), plan_hash=plan.digest(), run=run
    )
    found, started, last_event = _Found(), time.monotonic(), 0.0
    least = plan.federation.min_sites if least is None else least
    if getattr(grid, "keeps_replies", False):
        wait_seconds = 0.0  # all its sites are there from the start
    while True:
        if new := [node for node in grid.get_node_ids() if node not in found.asked]:
            _ask(grid, question, scratch, new, found, expected)
        missing = tuple(sorted(set(expected) - set(found.sites)))
        if not missing and len(found.sites) >= least:
            break
        age = time.monotonic() - started
        if age >= wait_seconds:
            raise FederationError(_missing(found, missing, least, age))
        if not last_event or age - last_event > 30:
            last_event, refused = age, dict(found.refused)
            on_event(Event(kind=EventKind.WAITING, sites=missing, refused=refused, seconds=age))
        time.sleep(min(LOOK, wait_seconds))
    sites = dict(sorted(found.sites.items()))
    names, refused = tuple(sites), found.refused
    untrained = _untrained(sites, plan.finetune)
    on_event(Event(kind=EventKind.DESCRIBED, sites=names, refused=refused, untrained=untrained))
    return sites


def check_description(about: SiteDescription, expected: Sequence[str] = ()) -> None:
    """Whether a site may take part as it describes itself.

    Raises:
        RefusedUpdateError: Its name is no legal one or is not expected, or a count is negative.
    """
    # The simulation's pooled arm is one site that holds every clip.
    if about.site != EVERY_SITE and (fault := site_name_fault(about.site)):
        raise RefusedUpdateError(f"its name {about.site[:80]!r} {fault}.")
    if expected and about.site not in expected:
        raise RefusedUpdateError(
            f"it calls itself {about.site}, and the federation has no such site."
        )
    parts = {
        "training patients": about.train_patients,
        **{f"training labels of {task}": count for task, count in about.labels.items()},
    }
    tests = {f"test labels of {task}": count for task, count in about.test_labels.items()}
    whole = {"training clips": about.train_clips, "quarantined files": about.quarantined}
    for what, count in (whole | parts | tests).items():
        if count < 0:
            raise RefusedUpdateError(f"its number of {what[:80]} is {count}.")
        if what in parts and count > about.train_clips:
            raise RefusedUpdateError(
                f"it has {count} {what[:80]} and {many(about.train_clips, 'clip')}."
            )


def participants_of(sites: Mapping[str, Site], plan: Plan, phase: Phase) -> dict[str, Participant]:
    """Sites that have something to train on in a phase.

    A site without training clips never takes part; fine-tuning takes sites with a label of a
    planned task.

    Raises:
        FederationError: No site has, or fewer than ``federation.min_sites``.
    """
    chosen = {}
    for name, site in sites.items():
        about = site.about
        labels = {task.value: about.labels.get(task.value, 0) for task in plan.finetune.tasks}
        if about.train_clips <= 0 or (phase is Phase.FINETUNE and not any(labels.values())):
            continue
        most = dict.fromkeys((DECODER, *TRUNK), about.train_clips)
        most |= {f"{HEADS}.{task}": count for task, count in labels.items()}
        chosen[name] = Participant(node=site.node, most=most)
    if not chosen:
        tasks = ", ".join(task.value for task in plan.finetune.tasks)
        what = "training clips" if phase is Phase.PRETRAIN else f"training labels for {tasks}"
        raise FederationError(
            f"no site of {', '.join(sites) or 'none'} has {what}; phase {phase.value} has nothing "
            f"to do: set {phase.value}.rounds = 0 or add a site."
        )
    if len(chosen) < plan.federation.min_sites:
        raise FederationError(
            f"federation.min_sites is {plan.federation.min_sites}, but {len(chosen)} of "
            f"{len(sites)} sites can take part in phase {phase.value} ({', '.join(chosen)}); lower "
            "it, or add sites."
        )
    return chosen


@dataclass(slots=True)
class _Found:
    """Sites found so far, and why some nodes are none."""

    sites: dict[str, Site] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


def _ask(
    grid: Grid,
    question: Instruction,
    scratch: Path,
    nodes: Sequence[int],
    found: _Found,
    expected: Sequence[str],
) -> None:
    """Ask nodes who they are and enter the answers; a late node is asked again."""
    names = {f"node {node}": node for node in nodes}
    messages = {name: to_message(question, None, node, PATIENCE) for name, node in names.items()}
    with closing(open_replies(grid, scratch)) as replies:
        for name, reply in replies.collect(messages, time.monotonic() + PATIENCE):
            if reply is None:
                found.refused[name] = f"did not say who it is within {PATIENCE:g} s."
                continue
            found.asked.add(names[name])
            try:
                about = read_reply(reply, SiteDescription)
                check_description(about, expected)
            except RefusedUpdateError as error:
                found.refused[name] = sentence(error)
                continue
            if about.site in found.sites:
                raise FederationError(
                    f"two nodes call themselves {about.site}; give each site its own name in its "
                    "node config."
                )
            found.sites[about.site] = Site(node=names[name], about=about)


def _untrained(sites: Mapping[str, Site], config: FinetuneConfig) -> tuple[str, ...]:
    """Planned tasks that nobody has training labels for."""
    planned = [task.value for task in config.tasks] if config.rounds else []
    labelled = {task for site in sites.values() for task, n in site.about.labels.items() if n}
    return tuple(task for task in planned if task not in labelled)


def _missing(found: _Found, missing: Sequence[str], needed: int, age: float) -> str:
    wanted = f"{', '.join(missing)} missing" if missing else f"federation.min_sites is {needed}"
    why = f"; {reasons(found.refused)}" if found.refused else ""
    return (
        f"after {age:.0f} s {many(len(found.sites), 'site is', 'sites are')} there "
        f"({', '.join(sorted(found.sites)) or 'none'}), {wanted}{why}; start the sites and run "
        "again."
    )
