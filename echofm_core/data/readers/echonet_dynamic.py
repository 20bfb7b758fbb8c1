"""EchoNet-Dynamic (Stanford): apical four-chamber AVI videos with EF and volumes.

Layout: ``FileList.csv``, ``VolumeTracings.csv``, ``Videos/*.avi``. Source: Ouyang 2020.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import (
    SPLITS,
    Row,
    Source,
    count,
    frame_rate,
    number,
    safe_name,
)
from echofm_core.data.readers._tables import read_table
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import Task

#: Native size of the release; six videos have another.
SIDE = 112
#: Rows of a well-formed tracing of one frame: the long axis and twenty discs.
TRACING_ROWS = 21


class EchoNetDynamicReader(Reader):
    """Reads the release as downloaded. One video is one patient."""

    dataset = "echonet_dynamic"
    layout = ("FileList.csv", "Videos/")

    def rows(self, source: Source) -> list[Row]:
        """The listed videos that are there."""
        columns = ("FileName", "EF", "ESV", "EDV")
        table = source.split_table("FileList.csv", columns, "Split")
        seen: dict[str, Row] = {}
        for index, values in enumerate(table.rows):
            row = _row(source, values, table.item(index))
            if row is not None:
                row["source_row"] = index
                first = seen.setdefault(str(row["clip_id"]), row)
                if first is not row:
                    source.settle(first, row, table.item(index))
        note_unlisted(source, "Videos", {video_name(values["FileName"]) for values in table.rows})
        _check_tracings(source, seen)
        return list(seen.values())


def _row(source: Source, values: dict[str, str], item: str) -> Row | None:
    name = video_name(values["FileName"])
    if not name:
        source.quarantined("bad_path", item, "The row names no file in Videos/.")
        return None
    path = source.usable_file(f"Videos/{name}.avi")
    if path is None:
        return None
    split = SPLITS.get(values["Split"].lower())
    if split is None:
        reason = "`Split` is none of TRAIN, VAL, TEST; the clip is used without one."
        source.repaired("unknown_split", item, reason)
    height, width = count(values.get("FrameHeight")), count(values.get("FrameWidth"))
    if (height, width) not in ((SIDE, SIDE), (None, None)):
        reason = f"The video is {width} x {height}, not {SIDE} x {SIDE}; it is resized."
        source.repaired("odd_size", f"Videos/{name}.avi", reason)
    return source.row(
        name,
        name,
        path=str(path),
        view="A4C",
        split=split,
        n_frames=count(values.get("NumberOfFrames")),
        fps=frame_rate(values.get("FPS")),
        height=height,
        width=width,
        **source.labels(
            {task: values[task.upper()] for task in (Task.EF, Task.EDV, Task.ESV)}, item
        ),
    )


def _check_tracings(source: Source, known: Mapping[str, Row]) -> None:
    """Note what is wrong with the tracings; the clip and its labels do not depend on them."""
    file, columns = "VolumeTracings.csv", ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
    try:
        table = read_table(source.root / file, columns)
    except DataRootError as error:
        source.repaired("no_tracings", file, str(error))
        return
    names = [video_name(row["FileName"]) for row in table.rows]
    listed = Counter(zip(names, (row["Frame"] for row in table.rows), strict=True))
    odd = {name for (name, _), rows in listed.items() if rows != TRACING_ROWS and name in known}
    outside = {
        name
        for name, row in zip(names, table.rows, strict=True)
        if name in known and _is_outside(row, known[name])
    }
    wrong = {
        "tracing_without_video": set(names) - set(known),
        "video_without_tracing": set(known) - set(names),
        "odd_tracing_rows": odd,
        "tracing_outside_frame": outside,
    }
    note_tracings(source, "Videos", wrong)


def _is_outside(row: dict[str, str], video: Row) -> bool:
    limits = {"X": video["width"] or SIDE, "Y": video["height"] or SIDE}
    points = [(number(row[name]), limits[name[0]]) for name in ("X1", "X2", "Y1", "Y2")]
    return any(value is None or not 0 <= value <= float(str(limit)) for value, limit in points)


def video_name(text: str) -> str:
    """A video without its suffix, which only some tables write; "" where it is no plain name."""
    name = text.strip().removesuffix(".avi").removesuffix(".AVI")
    return name if name == safe_name(name) else ""


def note_unlisted(source: Source, folder: str, listed: Collection[str]) -> None:
    """Quarantine the videos of a folder that its table does not name."""
    for path in sorted((source.root / folder).iterdir()):
        if path.stem not in listed and path.is_file():
            reason = "The file is not in FileList.csv, so it has no split and no label."
            source.quarantined("unlisted_file", f"{folder}/{path.name}", reason)


def note_tracings(source: Source, folder: str, wrong: Mapping[str, Iterable[str]]) -> None:
    """Note what is wrong with tracings: kind -> names of videos."""
    for kind, names in wrong.items():
        for name in sorted(names):
            reason = f"VolumeTracings.csv: {kind.replace('_', ' ')}; tracings are not used."
            source.repaired(kind, f"{folder}/{name}.avi", reason)
