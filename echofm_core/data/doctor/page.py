"""The diagnosis as files: a page, its picture, and the same as JSON and CSV."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core.data.doctor import tables
from echofm_core.data.doctor.charts import histograms
from echofm_core.data.doctor.contact_sheet import draw
from echofm_core.data.doctor.count import GROUPS, quantities, summary
from echofm_core.data.doctor.examine import Diagnosis
from echofm_core.data.doctor.numbers import SYNTHETIC, Kind, Part, Summary
from echofm_core.data.findings import Severity, findings_csv, places_csv
from echofm_core.data.reasons import Reason, merged
from echofm_core.pages.choice import deal
from echofm_core.pages.grid import printable
from echofm_core.pages.style import data_uri
from echofm_core.pages.template import png_bytes
from echofm_core.pages.template import write_page as write_template
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many

PAGE, PICTURE, RECORD = "doctor.html", "contact_sheet.png", "doctor.json"
#: Which file a hash stands for; written only where findings have one.
PLACES = "files-stay-here.csv"
#: Findings of one severity listed one by one; the rest is counted, and in the CSV.
LISTED = 500
#: Lists up to this long are open when the page is.
OPEN = 12

#: What each severity means, in words.
MEANING = {
    Severity.QUARANTINED: "These files and rows are not used.",
    Severity.REPAIRED: "These are used, after the stated correction.",
    Severity.NOTED: "These are used as they are; a person should look.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Findings of one kind, of all data sets: ``rows`` are (data set, item, reason) of some."""

    kind: str
    count: int
    reasons: tuple[Reason, ...]
    rows: tuple[tuple[str, ...], ...]


def write_page(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write ``doctor.html``, ``contact_sheet.png``, ``doctor.json`` and ``findings.csv``.

    And the local list of the files that findings call by a hash. The page needs no network and no
    other file. Each file appears whole or not at all, the page last; those of an earlier diagnosis
    are replaced.
    """
    numbers = summary(diagnosis)
    picture = png_bytes(draw(diagnosis))
    write_whole(folder / PICTURE, picture)
    write_whole(folder / RECORD, to_json(numbers, diagnosis.findings).encode())
    write_whole(folder / tables.FINDINGS, findings_csv(diagnosis.findings))
    if local := places_csv(diagnosis.findings, diagnosis.places):
        write_whole(folder / PLACES, local)
    values = quantities(diagnosis.manifest, diagnosis.decoded)
    context = {
        "synthetic": SYNTHETIC if diagnosis.synthetic else "",
        "verdict": numbers.verdict,
        "decoded": numbers.coverage,
        "overview": tables.overview(numbers.parts),
        "shared": tables.shared(numbers),
        "shared_note": tables.SHARED_NOTE,
        "parts": [_part(part, numbers.kinds) for part in numbers.parts],
        "findings": [
            {
                "severity": severity.value,
                "meaning": MEANING[severity],
                "count": numbers.found(severity),
                "listings": listings(diagnosis.findings, severity),
            }
            for severity in Severity
        ],
        "open": OPEN,
        "csv": tables.FINDINGS,
        "charts": histograms(values, synthetic=diagnosis.synthetic),
        "contact_sheet": data_uri(picture),
    }
    return write_template(folder / PAGE, "echofm_core.data.doctor", "doctor.html.j2", context)


def to_json(summary: Summary, findings: pd.DataFrame) -> str:
    """The summary and every finding; missing numbers are null, keys in a fixed order."""
    record = {
        "synthetic": summary.synthetic,
        "verdict": summary.verdict,
        "clips": summary.clips,
        "decoded": summary.decoded,
        **{severity.value: summary.found(severity) for severity in Severity},
        "datasets": [asdict(part) for part in summary.parts],
        "shared_patients": [asdict(shared) for shared in summary.shared],
        "kinds": [asdict(kind) for kind in summary.kinds],
        "findings": findings.astype(object).where(findings.notna(), None).to_dict("records"),
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def listings(findings: pd.DataFrame, severity: Severity) -> list[Listing]:
    """Findings of one severity by kind, the most frequent first.

    At most :data:`LISTED` rows, dealt so that no kind crowds out another.
    """
    chosen = findings[findings["severity"] == severity.value]
    groups = sorted(
        chosen.groupby("kind", observed=True), key=lambda group: (-len(group[1]), group[0])
    )
    shares = deal([len(group) for _, group in groups], LISTED)
    found = []
    for (kind, group), share in zip(groups, shares, strict=True):
        shown = group.head(share)[["dataset", "item", "reason"]].itertuples(index=False)
        rows = tuple(tuple(map(printable, row)) for row in shown)
        reasons = merged(map(Reason, group["reason"]))
        found.append(Listing(kind=str(kind), count=len(group), reasons=reasons, rows=rows))
    return found


def _part(part: Part, kinds: Sequence[Kind]) -> dict[str, Any]:
    """One data set as its section names it."""
    known = [group for group in GROUPS if tables.is_known(part, group)]
    missing = [title for group, (title, _) in GROUPS.items() if group not in known]
    return {
        "name": part.dataset,
        "clips": part.clips,
        "facts": _facts(part),
        "unknown": missing if part.clips else [],
        "kinds": [(k.kind, k.severity, k.count) for k in kinds if k.dataset == part.dataset],
        "groups": [(GROUPS[group][0], tables.top(part, group)) for group in known],
        "spreads": tables.spreads(part),
    }


def _facts(part: Part) -> list[str]:
    """Sentences about one data set."""
    if not part.clips:
        return ["None of its clips can be used."]
    clips, patients = many(part.clips, "clip"), many(part.patients, "patient")
    studies = many(part.studies, "study", "studies")
    facts = [f"{clips} of {patients} in {studies}; {part.decoded:,} decoded."]
    if part.reduced_ef is not None:
        facts.append(f"EF is under 50 % in {100 * part.reduced_ef:.0f} % of those that have one.")
    if not part.public:
        facts.append("Files appear under hashed names.")
    return facts
