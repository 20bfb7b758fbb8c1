"""``RELEASE.md``: what ``what-left.json`` holds, for people; nothing is in it that is not there."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from echofm_core.runtime.text import many
from server.release.record import START, UNKNOWN

#: File of a released folder -> what it is.
FILES = {
    "model/model.safetensors": "the weights, with the plan in their header",
    "model/README.md": "the model's card: sites, scores, how to read them",
    "report.html": "the report of the run",
    "plan.toml": "the plan: all that decided the run, with every default",
    "what-left.json": "what left each site, answer by answer; this page in figures",
    "sbom.cdx.json": "what was installed where this release was made (CycloneDX 1.6)",
    "release.pub": "a copy of the public key; check with the one that was handed over otherwise",
    "release.sig": "the signature over every other file",
}


def page(record: Mapping[str, Any], files: Sequence[str], report: str) -> str:
    """The page of a record.

    Args:
        record: Of :func:`server.release.record.make_record`.
        files: What the folder holds.
        report: Why there is no report; "" where there is one.
    """
    return "\n\n".join(_parts(record, files, report)) + "\n"


def _parts(record: Mapping[str, Any], files: Sequence[str], report: str) -> Iterator[str]:
    sites = record["sites"]
    yield f"# Release of {record['run']}"
    if record["finished"]:
        yield "The run is finished."
    else:
        yield f"**UNFINISHED RUN:** {'; '.join(record['unfinished_because'])}."
    yield (
        f"Plan hash `{record['plan_hash']}`, weights digest "
        f"`{record['weights_digest'] or 'none: there are no weights'}`, made {record['made']}. Not "
        "a medical device. The coordinator says all of this; how a site holds it to its word "
        "stands at the end."
    )
    listed = [(f"`{name}`", FILES[name]) for name in FILES if name in files]
    yield _table(("file", "what"), listed) + (f"\n\nNo report.html: {report}." if report else "")
    yield "## Model weights that leave: policy and technical controls (SATRE 2.0.1, 3.3.07)"
    yield (
        "That clause asks for a stated policy and for named technical controls where model weights "
        "leave. Its text is not repeated here; whether these facts meet it is for the office that "
        "files them to judge."
    )
    yield "### Policy: each site's own, by hash"
    yield _policies(sites)
    yield "### Technical controls, as they stood in this run"
    rows = [tuple(control.values()) for control in record["controls"]]
    yield _table(("control", "in this run", "in the code"), rows)
    yield "## What left, by site"
    for name, facts in sites.items():
        yield f"### {name}"
        yield _answers(facts["answers"])
        if facts["not_counted"]:
            yield "Not taken by the coordinator, and not in the model:\n\n" + _items(
                f"{when}: {why}" for when, why in facts["not_counted"].items()
            )
    yield "## Privacy spent"
    yield _privacy(record)
    yield "## Software"
    yield _items(
        f"{where}: {what or 'not recorded'}"
        for where, what in (
            *record["software"].items(),
            *((name, facts["software"]) for name, facts in sites.items()),
        )
    )
    yield "## Licences"
    yield _licences(record["licences"])
    yield "## How to check it"
    yield _CHECK


_CHECK = """\
- The folder: `echofm server release --verify FOLDER --key KEY.pub`, with the public key that the
  coordinator handed over by another way. One changed byte, a file more or less, and it fails.
- What a site let leave: in `what-left.json` each answer has an `audit_head`, the hash of the line
  that the site itself wrote before the answer left. There, `echofm client audit FOLDER --verify
  --expect HEAD` finds the line, or says that it is not the site's. Lines in between are of answers
  that were not taken, and of the validation of a phase's last result, whose loss stands with that
  round.
- A policy: `echofm client check FOLDER` at the site prints the hash of the `[policy]` that it has
  now."""


def _policies(sites: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            _distinct(facts["answers"], "policy_hash"),
            _distinct(facts["answers"], "approval_hash"),
            facts["min_patients"] or "not recorded",
            f"`{facts['released']}`" if facts["released"] else "not recorded",
        )
        for name, facts in sites.items()
    ]
    heads = ("site", "policy", "approval", "fewest patients", "losses and scores that may leave")
    return _table(heads, rows)


def _distinct(answers: Sequence[Mapping[str, Any]], name: str) -> str:
    """The hashes that answers came with, the oldest first; a policy may change within a run."""
    found = dict.fromkeys(answer[name] for answer in answers)
    return ", then ".join(f"`{each}`" if each else "none" for each in found) or "none"


def _answers(answers: Sequence[Mapping[str, Any]]) -> str:
    """A row for answers that were alike, so that 200 rounds are one."""

    def alike(answer: Mapping[str, Any]) -> tuple[Any, ...]:
        groups = tuple(answer["groups"].items())
        return answer["kind"], answer["phase"], groups, answer["bytes"], tuple(answer["numbers"])

    rows = []
    for (kind, _, groups, size, numbers), same in groupby(answers, alike):
        each = list(same)
        when = each[0]["when"] + (f" to {each[-1]['round']}" if len(each) > 1 else "")
        if kind == "description":
            when = many(len(each), "session")
        weights = ", ".join(f"{group} ({many(clips, 'clip')})" for group, clips in groups)
        rows.append((when, kind, weights or "none", f"{size:,}" if groups else "", _names(numbers)))
    heads = ("when", "what", "weights of (clips behind)", "bytes each time", "numbers and texts")
    return _table(heads, rows) if rows else "Nothing is recorded."


def _names(numbers: Sequence[str]) -> str:
    """Names of numbers; those of scores by model and task, so that the row can be read."""
    plain, scores = [], dict[str, list[str]]()
    for name in numbers:
        start, _, metric = name.rpartition("/")
        if "/" in start:
            scores.setdefault(start, []).append(metric)
        else:
            plain.append(name)
    return "; ".join(
        [", ".join(plain)] * bool(plain)
        + [f"{start}: {', '.join(metrics)}" for start, metrics in scores.items()]
    )


def _privacy(record: Mapping[str, Any]) -> str:
    if record["delta"] is None:
        return "No differential privacy was applied: weights left without noise."
    rows = [(name, _spent(facts)) for name, facts in record["sites"].items()]
    table = _table(("site", f"epsilon in this run, at delta {record['delta']:g}"), rows)
    if not any(facts["open_rounds"] for facts in record["sites"].values()):
        return table
    return (
        f"{table}\n\nA site pays for each round that it trains, whether its answer counts or not. "
        "Where later rounds did not count, what was spent in them stands in the site's own ledger "
        "alone: `echofm client budget FOLDER`, there."
    )


def _spent(facts: Mapping[str, Any]) -> str:
    epsilon, later = facts["epsilon"], facts["open_rounds"]
    known = "none" if epsilon is None else f"{epsilon:.3g}"
    if not later:
        return known
    rounds = f"{many(later, 'round')} did not count"
    return f"not known: {rounds}" if epsilon is None else f"{known} or more: then {rounds}"


def _licences(licences: Mapping[str, Any]) -> str:
    start, data = licences["start weights"], licences["data"]
    named = f" `{start['digest'][:12]}`" if start["digest"] else ""
    lines = [f"start weights{named}: {start['licence']}"]
    lines += [f"data of {name}: {licence}" for name, licence in data.items()]
    missing = [name for name, licence in data.items() if licence == UNKNOWN]
    missing += [START] if start["licence"] == UNKNOWN else []
    advice = "Weights trained on restricted data are derived from them: ask before they are shared."
    if missing:
        names = " ".join(f"--licence {name}='...'" for name in missing)
        advice += f" To fill in what is unknown, make the release again with `{names}`."
    return f"{_items(lines)}\n\n{advice}"


def _items(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(item) for item in line) + " |" for line in lines)


def _cell(item: object) -> str:
    return str(item).replace("|", "\\|").replace("\n", " ")
