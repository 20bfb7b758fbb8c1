"""What left the sites of a run, by which rules: the facts of a release, from the run folder alone.

Symptom: an office asks what has left a hospital in a run, and is handed a log. Reason: the facts
stand in three places, by round. Protocol: descriptions, journal and evaluation are read as the run
wrote them, and each answer of a site becomes one record, with the hashes that it came with; nothing
is computed from weights or patients here. What can still go wrong: the coordinator says so, and a
coordinator can lie: the heads of each site's own audit stand beside, for the site to hold it to.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from echofm_core.contract import (
    RULE_NUMBERS,
    UPDATE_METRICS,
    VALIDATION,
    Attested,
    Phase,
    SiteDescription,
    SiteResult,
)
from echofm_core.plan.document import Plan
from server.journal import Entry, Journal, read_descriptions

#: Metric of a private round: what all rounds up to it have spent.
EPSILON = "epsilon"
#: File of a run folder: what each site found of the final model.
EVALUATION = "evaluation.json"
#: File of a run folder: what had stayed at the sites and was sent at the end.
SHARED_FINAL = "share-final.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer(Attested):
    """One answer of a site that the coordinator took.

    Attributes:
        kind: ``description``, ``update`` or ``test result``.
        when: The session, the phase and round, or the end, in words.
        phase, round: Of an update; "" and 0 of others.
        groups: Parameter group -> training clips behind it.
        bytes: Of all arrays.
        numbers: Names of the numbers that left.
    """

    kind: str
    when: str
    phase: str = ""
    round: int = 0
    groups: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    numbers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteFacts:
    """One site in a run.

    Attributes:
        answers: In the order of the run.
        not_counted: What it sent, or did not send, that the coordinator did not take, and why.
        min_patients, released, software: As it last described itself; see ``SiteDescription``.
        epsilon: Spent in this run at the plan's delta, by the last round of it that counted; None
            where no private one did.
        open_rounds: Rounds after that one which did not count; the site may have paid for them.
    """

    answers: tuple[Answer, ...]
    not_counted: Mapping[str, str]
    min_patients: int | None
    released: str
    software: str
    epsilon: float | None
    open_rounds: int


def sites_of(run: Path, plan: Plan) -> dict[str, SiteFacts]:
    """Site -> its facts, in name order."""
    sessions, entries = read_descriptions(run), Journal(run, plan.digest()).entries()
    results, untested = _evaluation(run)
    names = {site for session in sessions for site in session["sites"]}
    names |= {site for entry in entries for site in (*entry.sites, *entry.refused)} | set(untested)
    return {
        site: _facts(site, sessions, entries, results, untested, _shared(site, run))
        for site in sorted(names)
    }


def server_software(run: Path) -> str:
    """What was installed at the coordinator when the last session began; "" where not known."""
    sessions = read_descriptions(run)
    return str(sessions[-1].get("server", "")) if sessions else ""


def _facts(
    site: str,
    sessions: Sequence[Mapping[str, Any]],
    entries: Sequence[Entry],
    results: Sequence[Mapping[str, Any]],
    untested: Mapping[str, str],
    shared: Sequence[Answer],
) -> SiteFacts:
    said = list(_said(site, sessions))
    last = said[-1][1] if said else {}
    refused = {_round(entry): entry.refused[site] for entry in entries if site in entry.refused}
    if site in untested:
        refused["test at the end"] = untested[site]
    spent = [part.metrics[EPSILON] for part in _parts(site, entries) if EPSILON in part.metrics]
    return SiteFacts(
        answers=(
            *(_description(when, about) for when, about in said),
            *_updates(site, entries),
            *shared,
            *(_result(row) for row in results if row["site"] == site),
        ),
        not_counted=refused,
        min_patients=last.get("min_patients"),
        released=str(last.get("released", "")),
        software=str(last.get("software", "")),
        epsilon=max(spent, default=None),
        open_rounds=_open_rounds(site, entries),
    )


def _said(
    site: str, sessions: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What a site said of itself, and when: each time that others joined, it is noted again."""
    known = set()
    for row in sessions:
        about = row["sites"].get(site, {})
        head = about.get("audit_head")
        if about and not (head and head in known):
            known.add(head)
            yield row["when"], about


def _description(when: str, about: Mapping[str, Any]) -> Answer:
    hashes = {item.name for item in fields(Attested)}
    counts = {item.name for item in fields(SiteDescription)} - hashes - {"site"}
    return Answer(
        kind="description",
        when=f"session that began {when}",
        numbers=sorted(counts & about.keys()),
        **_attested(about),
    )


def _updates(site: str, entries: Sequence[Entry]) -> Iterator[Answer]:
    """Its part in each round; a validation loss is of a round's result, and came one message later.

    Numbers that are no metric of an update, such as its norm, the coordinator has worked out.
    """
    for entry in entries:
        if part := entry.sites.get(site):
            known = {*UPDATE_METRICS, *RULE_NUMBERS}
            numbers = {name for name in part.metrics if name.partition("/")[0] in known}
            if site in entry.validation:
                numbers.add(VALIDATION)
            yield Answer(
                kind="update",
                when=_round(entry),
                phase=entry.phase.value,
                round=entry.round,
                groups=dict(part.counts),
                bytes=part.bytes,
                numbers=sorted(numbers),
                **_attested(asdict(part)),
            )


def _shared(site: str, run: Path) -> list[Answer]:
    """What had stayed at the site and was sent once after the last round, where a plan does so."""
    try:
        part = json.loads((run / SHARED_FINAL).read_text(encoding="utf-8"))["sites"][site]
    except (OSError, ValueError, KeyError):
        return []
    return [
        Answer(
            kind="update",
            when="end of fine-tuning: what had stayed at the site",
            phase=Phase.FINETUNE.value,
            groups=dict(part["counts"]),
            bytes=int(part["bytes"]),
            **_attested(part),
        )
    ]


def _result(row: Mapping[str, Any]) -> Answer:
    hashes = {item.name for item in fields(Attested)}
    other = {item.name for item in fields(SiteResult)} - hashes - {"site", "patients", "scores"}
    counts = [f"patients/{task}" for task in row["patients"]]
    return Answer(
        kind="test result",
        when="test at the end",
        numbers=sorted([*counts, *row["scores"], *(other & row.keys())]),
        **_attested(row),
    )


def _attested(row: Mapping[str, Any]) -> dict[str, Any]:
    return {item.name: str(row.get(item.name, "")) for item in fields(Attested)}


def _parts(site: str, entries: Sequence[Entry]) -> Iterator[Any]:
    return (entry.sites[site] for entry in entries if site in entry.sites)


def _open_rounds(site: str, entries: Sequence[Entry]) -> int:
    """Rounds since the last one in which a site counted: its metrics say nothing of these."""
    rounds = 0
    for entry in entries:
        rounds = 0 if site in entry.sites else rounds + (site in entry.refused)
    return rounds


def _round(entry: Entry) -> str:
    return f"{entry.phase.value} round {entry.round}"


def _evaluation(run: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Test results as they were kept, and site -> why its test did not count."""
    try:
        values = json.loads((run / EVALUATION).read_text(encoding="utf-8"))
        return list(values["sites"]), dict(values["failed"])
    except (OSError, ValueError, TypeError, KeyError):
        return [], {}
