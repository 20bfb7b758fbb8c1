"""What a reader could not use, and why: one bad file never kills a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pandas as pd

from echofm_core.pages.grid import printable


class Severity(StrEnum):
    """What became of it.

    ``quarantined``: the clip is not used. ``repaired``: used, after a stated correction.
    ``noted``: used as it is; a person should look.
    """

    QUARANTINED = "quarantined"
    REPAIRED = "repaired"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was wrong.

    Attributes:
        kind: Short stable name of the error, e.g. ``truncated_video``; reports count by it.
        item: File relative to the data root, or a row such as ``FileList.csv:17``. Hospitals'
            own files appear under a hashed name.
        reason: One sentence for a person.
    """

    dataset: str
    kind: str
    item: str
    reason: str
    severity: Severity = Severity.QUARANTINED


@dataclass(frozen=True, slots=True)
class Note:
    """What decoding found out about a clip that is used: a finding without its place."""

    kind: str
    reason: str
    severity: Severity


@dataclass(slots=True)
class Findings:
    """All findings of one read, in the order met.

    Attributes:
        items: Fit to leave the institution.
        places: What an item that is a hash stands for: the file's path, which never leaves.
    """

    items: list[Finding] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        dataset: str,
        kind: str,
        item: str | Path,
        reason: str,
        severity: Severity = Severity.QUARANTINED,
    ) -> None:
        """Note one finding; a name that is no Unicode text is written with its bytes escaped."""
        name = str(item).encode("utf-8", errors="backslashreplace").decode()
        self.items.append(Finding(dataset, kind, name, reason, severity))

    @property
    def quarantined(self) -> int:
        """Files that are not used."""
        lost = (found for found in self.items if found.severity is Severity.QUARANTINED)
        return len({(found.dataset, found.item) for found in lost})

    def extend(self, other: Findings) -> None:
        """Append another read's findings."""
        self.items.extend(other.items)
        self.places.update(other.places)

    def table(self) -> pd.DataFrame:
        """One row a finding: dataset, kind, item, reason, severity."""
        columns = ["dataset", "kind", "item", "reason", "severity"]
        rows = ((i.dataset, i.kind, i.item, i.reason, i.severity.value) for i in self.items)
        return pd.DataFrame(rows, columns=columns, dtype="string")


def findings_csv(findings: pd.DataFrame) -> bytes:
    """Every finding as CSV; what a spreadsheet would take for a formula gets a quote before it."""

    def shown(value: object) -> str:
        text = printable(str(value))
        return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text

    return findings.astype(object).map(shown).to_csv(index=False).encode()


def places_csv(findings: pd.DataFrame, places: Mapping[str, str]) -> bytes:
    """The files that findings of :meth:`Findings.table` call by a hash; "" where there are none.

    This table names files as the hospital does: it stays where the manifest is.
    """
    named = [item for item in findings["item"].unique() if item in places]
    rows = {"item": named, "path (stays at this institution)": [places[item] for item in named]}
    return findings_csv(pd.DataFrame(rows)) if named else b""
