"""EchoNet-Pediatric (Lucile Packard, Stanford): children's AVI videos with EF, two views.

Layout: ``A4C/`` and ``PSAX/``, each with ``FileList.csv``, ``VolumeTracings.csv`` and ``Videos/``;
the archive nests them twice. Source: Reddy 2023.

Choices: the first token of a file name is the patient; fold 0 is the test split and fold 1 the
validation split, as benchmarks on it use them; a patient in several folds goes to the one that is
held out more. EF is by area and length, and there are no volumes.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from echofm_core.data.manifest import Split
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import Row, Source, integer, positive, safe_name, sex_of
from echofm_core.data.readers._tables import read_table
from echofm_core.data.readers.echonet_dynamic import note_tracings, note_unlisted, video_name
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

VIEWS = ("A4C", "PSAX")
FOLDS = {0: Split.TEST, 1: Split.VALIDATION, **dict.fromkeys(range(2, 10), Split.TRAIN)}


class EchoNetPediatricReader(Reader):
    """Reads the release as downloaded, both views."""

    dataset = "echonet_pediatric"

    def find(self, root: Path) -> bool:
        """Is this layout at ``root``?"""
        return any(_has_view(root, view) for view in VIEWS)

    def rows(self, source: Source) -> list[Row]:
        """The listed videos that are there."""
        return source.one_split_a_patient(row for view in VIEWS for row in _rows(source, view))


def _rows(source: Source, view: str) -> Iterator[Row]:
    if not _has_view(source.root, view):
        reason = "The view has no FileList.csv and Videos/; the other view is used alone."
        source.repaired("missing_view", view, reason)
        return
    table = source.split_table(f"{view}/FileList.csv", ("FileName", "EF"), "Split", train="2")
    seen: dict[str, Row | None] = {}
    for index, values in enumerate(table.rows):
        item = f"{view}/{table.item(index)}"
        name = video_name(values["FileName"])
        if not name:
            source.quarantined("bad_path", item, "The row names no file in Videos/.")
        elif name not in seen:
            row = seen[name] = _row(source, view, name, values, item)
            if row is not None:
                row["source_row"] = index
        elif (first := seen[name]) is not None:
            ef = source.label(values["EF"], Task.EF, item)
            source.settle(first, {"ef": ef}, item, ("ef",))
    note_unlisted(source, f"{view}/Videos", seen)
    _check_tracings(source, view, seen)
    yield from filter(None, seen.values())


def _row(source: Source, view: str, name: str, values: dict[str, str], item: str) -> Row | None:
    path = source.usable_file(f"{view}/Videos/{name}.avi")
    if path is None:
        return None
    split = FOLDS.get(fold) if (fold := integer(values["Split"])) is not None else None
    if split is None:
        reason = "`Split` is no fold from 0 to 9; the clip is used without one."
        source.repaired("unknown_split", item, reason)
    return source.row(
        name.partition("-")[0],
        f"{view}_{name}",
        study_id="-".join(name.split("-")[:2]),
        path=str(path),
        view=view,
        split=split,
        sex=sex_of(values.get("Sex")),
        age=positive(values.get("Age")),
        ef=source.label(values["EF"], Task.EF, item),
    )


def _check_tracings(source: Source, view: str, videos: Collection[str]) -> None:
    """Note frames that are not numbered; clips and labels do not depend on tracings."""
    item = f"{view}/VolumeTracings.csv"
    try:
        table = read_table(source.root / item, ("FileName", "X", "Y", "Frame"))
    except DataRootError as error:
        source.repaired("no_tracings", item, str(error))
        return
    names = [values["FileName"].removesuffix(".avi") for values in table.rows]
    frames = [integer(values["Frame"]) for values in table.rows]
    pairs = [*zip(names, frames, strict=True)]
    unnumbered = {name for name, frame in pairs if name in videos and frame is None}
    unlisted = {safe_name(name) for name in names if name not in videos}
    wrong = {"tracing_without_frame": unnumbered, "tracing_without_video": unlisted}
    note_tracings(source, f"{view}/Videos", wrong)


def _has_view(root: Path, view: str) -> bool:
    return (root / view / "FileList.csv").is_file() and (root / view / "Videos").is_dir()
