"""EchoNet-Dynamic (Stanford): apical four-chamber AVI videos with EF and volumes.

Layout: ``FileList.csv``, ``VolumeTracings.csv``, ``Videos/*.avi``. Source: Ouyang 2020. The other
EchoNet releases have tables of the same kind, which are read by the functions below.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from echofm_core.data.manifest import Split
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

#: Video -> its row of the manifest; video and cells of each row of a table of tracings.
Videos = Mapping[str, Row]
Tracings = Sequence[tuple[str, dict[str, str]]]


class EchoNetDynamicReader(Reader):
    """Reads the release as downloaded. One video is one patient."""

    dataset = "echonet_dynamic"
    layouts = (("FileList.csv", "Videos/"),)

    def rows(self, source: Source) -> list[Row]:
        """The listed videos that are there."""
        videos = read_videos(source, "", ("EF", "ESV", "EDV"), SPLITS, partial(_row, source))
        check_tracings(source, "", ("X1", "Y1", "X2", "Y2"), videos, _wrong_tracings)
        return list(videos.values())


def _row(source: Source, name: str, values: dict[str, str], item: str) -> Row:
    height, width = count(values.get("FrameHeight")), count(values.get("FrameWidth"))
    if (height, width) not in ((SIDE, SIDE), (None, None)):
        reason = f"The video is {width} x {height}, not {SIDE} x {SIDE}; it is resized."
        source.repaired("odd_size", f"Videos/{name}.avi", reason)
    texts = {task: values[task.upper()] for task in (Task.EF, Task.EDV, Task.ESV)}
    return source.row(
        name,
        name,
        view="A4C",
        n_frames=count(values.get("NumberOfFrames")),
        fps=frame_rate(values.get("FPS")),
        height=height,
        width=width,
        **source.labels(texts, item),
    )


def _wrong_tracings(tracings: Tracings, videos: Videos) -> dict[str, set[str]]:
    rows = Counter((name, values["Frame"]) for name, values in tracings)
    return {
        "video_without_tracing": set(videos) - {name for name, _ in tracings},
        "odd_tracing_rows": {name for (name, _), many in rows.items() if many != TRACING_ROWS},
        "tracing_outside_frame": {
            name for name, values in tracings if _is_outside(values, videos[name])
        },
    }


def _is_outside(row: dict[str, str], video: Row) -> bool:
    limits = {"X": video["width"] or SIDE, "Y": video["height"] or SIDE}
    points = [(number(row[name]), limits[name[0]]) for name in ("X1", "X2", "Y1", "Y2")]
    return any(value is None or not 0 <= value <= float(str(limit)) for value, limit in points)


def video_name(text: str) -> str:
    """A video without its suffix, which only some tables write; "" where it is no plain name."""
    name = text.removesuffix(".avi").removesuffix(".AVI")
    return name if name == safe_name(name) else ""


def listed(
    source: Source, table: str, columns: Sequence[str], split: str, words: Mapping[str, Split]
) -> Iterator[tuple[int, str, dict[str, str], Split | None]]:
    """Number, item, cells and split of each row of a table of videos.

    ``words`` gives the split of what is written in the column ``split``, in lower case; where the
    table lacks that column, all rows train.

    Raises:
        DataRootError: As of :func:`~echofm_core.data.readers._tables.read_table`.
    """
    rows = read_table(source.root / table, columns, (split,)).rows
    if rows and split not in rows[0]:
        reason = f"The table has no column `{split}`; all its clips are for training."
        source.repaired("no_split_column", table, reason)
    for index, values in enumerate(rows):
        item, word = f"{table}:{index}", values.get(split)
        part = Split.TRAIN if word is None else words.get(word.lower().removesuffix(".0"))
        if part is None:
            reason = f"`{split}` is none of {', '.join(words)}; the row gives no split."
            source.repaired("unknown_split", item, reason)
        yield index, item, values, part


def read_videos(
    source: Source,
    folder: str,
    columns: Sequence[str],
    words: Mapping[str, Split],
    make: Callable[[str, dict[str, str], str], Row],
) -> dict[str, Row]:
    """Videos that ``FileList.csv`` names and that are there; others are noted.

    Args:
        folder: Of the table and of ``Videos/``; empty, or it ends in a slash.
        columns, words: See :func:`listed`.
        make: Row of a video from its name, the table's cells, and how findings name these.
    """
    videos, named = dict[str, Row](), set[str]()
    table, columns = f"{folder}FileList.csv", ("FileName", *columns)
    for index, item, values, split in listed(source, table, columns, "Split", words):
        named.add(name := video_name(values["FileName"]))
        if not name:
            source.quarantined("bad_path", item, "The row names no file in Videos/.")
        elif path := source.usable_file(f"{folder}Videos/{name}.avi"):
            found: Row = {"path": str(path), "split": split, "source_row": index}
            row = make(name, values, item) | found
            if (first := videos.setdefault(name, row)) is not row:
                source.settle(first, row, item)
    for path in sorted((source.root / folder / "Videos").iterdir()):
        if path.stem not in named and path.is_file():
            reason = "The file is not in FileList.csv, so it has no split and no label."
            source.quarantined("unlisted_file", f"{folder}Videos/{path.name}", reason)
    return videos


def check_tracings(
    source: Source,
    folder: str,
    columns: Sequence[str],
    videos: Videos,
    wrong: Callable[[Tracings, Videos], dict[str, set[str]]],
) -> None:
    """Note tracings of no video, and kind -> videos that ``wrong`` finds; no clip needs them."""
    table = f"{folder}VolumeTracings.csv"
    try:
        rows = read_table(source.root / table, ("FileName", "Frame", *columns)).rows
    except DataRootError as error:
        source.repaired("no_tracings", table, str(error))
        return
    named = [(row["FileName"], row) for row in rows]
    tracings = [(video_name(text) or safe_name(text), row) for text, row in named]
    found = wrong([row for row in tracings if row[0] in videos], videos)
    found["tracing_without_video"] = {name for name, _ in tracings} - set(videos)
    for kind, names in found.items():
        for name in sorted(names):
            reason = f"VolumeTracings.csv: {kind.replace('_', ' ')}; tracings are not used."
            source.repaired(kind, f"{folder}Videos/{name}.avi", reason)
