"""HMC-QU (Doha): apical AVI videos of patients with and without infarction.

Layout: ``A4C/*.avi`` and ``A2C/*.avi`` with irregular names, ``A4C.xlsx`` and ``A2C.xlsx`` with the
infarcted segments, and wall masks. Source: Degerli 2021.

Infarction is no task here, so the clips come without labels. The names of this release tell the
label (an ``N`` in most of the normal ones): ids are built from patient, view and take alone, and
the reader measures the leak and notes it.
"""

import re

from echofm_core.data.formats.sheet import read_sheet
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import Row, Source
from echofm_core.runtime.errors import DataRootError

VIEWS = ("A4C", "A2C")
#: ``ES0001 _4CH_1``, ``ES00084 N_4CH_3``, ``ES000101_CH2_1``.
_NAME = re.compile(r"ES(?P<patient>\d+)\s*(?P<mark>[Nn]?)\s*_\s*(4CH|2CH|CH4|CH2)_(?P<take>\d+)")
#: Share of names that guess the label right above which they are said to tell it.
LEAK = 0.75


class HmcQuReader(Reader):
    """Reads the release as downloaded, both views; there is no official split."""

    dataset = "hmc_qu"
    layouts = tuple((f"{view}.xlsx", f"{view}/") for view in VIEWS)

    def rows(self, source: Source) -> list[Row]:
        """The videos."""
        rows: dict[str, Row] = {}
        marks: list[tuple[bool, bool]] = []
        for view in VIEWS:
            infarcted = _infarcted(source, view)
            for path in sorted((source.root / view).glob("*.[aA][vV][iI]")):
                item = f"{view}/{path.name}"
                match = _NAME.fullmatch(path.stem.strip())
                if match is None:
                    reason = "The name is not one of this data set, so it has no patient."
                    source.quarantined("stray_file", item, reason)
                    continue
                file = source.usable_file(item)
                if file is None:
                    continue
                patient = f"ES{int(match['patient']):06d}"
                clip = f"{patient}_{view}_{match['take']}"
                if clip in rows:
                    reason = "A video of the same patient, view and take was read before."
                    source.quarantined("duplicate_file", item, reason)
                    continue
                more: Row = {"path": str(file), "view": view, "source_row": len(rows)}
                rows[clip] = source.row(patient, clip, **more)
                key = _key(path.stem)
                if key in infarcted:
                    marks.append((bool(match["mark"]), infarcted.pop(key)))
                elif infarcted:
                    reason = f"{view}.xlsx has no row for the video; it is used."
                    source.repaired("unlisted_file", item, reason)
            for key in sorted(infarcted):
                source.quarantined("missing_file", f"{view}/{key}", "Listed, not there.")
        _note_leak(source, marks)
        return list(rows.values())


def _infarcted(source: Source, view: str) -> dict[str, bool]:
    """Whether any segment is infarcted, by the squeezed name of the video."""
    try:
        rows = read_sheet(source.root / f"{view}.xlsx", ("ECHO",))
    except DataRootError as error:
        source.repaired("bad_table", f"{view}.xlsx", str(error))
        return {}
    return {
        _key(row["ECHO"]): any(
            value.upper() == "MI" for name, value in row.items() if name.startswith("SEG")
        )
        for row in rows
        if row["ECHO"]
    }


def _note_leak(source: Source, marks: list[tuple[bool, bool]]) -> None:
    """How often an ``N`` in the name, or none, tells infarction, where both kinds occur."""
    if len({infarcted for _, infarcted in marks}) < 2:
        return
    share = sum(marked != infarcted for marked, infarcted in marks) / len(marks)
    if share > LEAK:
        reason = (
            f"The letter N in the file names tells normal from infarcted in {share:.0%} of "
            f"{len(marks)} videos; names are kept out of ids, keep them from models too."
        )
        source.noted("label_in_name", "A4C/, A2C/", reason)


def _key(name: str) -> str:
    """A name without its blanks, which the sheet and the files do not agree on."""
    return re.sub(r"\s+", "", name.upper().removesuffix(".AVI"))
