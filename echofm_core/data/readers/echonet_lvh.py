"""EchoNet-LVH (Stanford): parasternal long-axis AVI videos, measured for wall thickness.

Layout: ``MeasurementsList.csv``, several rows a video, and ``Batch1/`` to ``Batch4/`` with the
videos, in some downloads one folder deeper. Source: Duffy 2022.

Wall thickness is no task here, so the clips come without labels: they serve pre-training and the
task ``view``. One video is one patient.
"""

from collections.abc import Iterator

from echofm_core.data.readers._api import Reader
from echofm_core.data.readers._source import SPLITS, Row, Source, count, frame_rate
from echofm_core.data.readers.echonet_dynamic import listed, video_name

TABLE = "MeasurementsList.csv"


class EchoNetLvhReader(Reader):
    """Reads the release as downloaded."""

    dataset = "echonet_lvh"
    layouts = ((TABLE,),)

    def rows(self, source: Source) -> list[Row]:
        """The measured videos that are there."""
        return source.one_split_a_patient(_rows(source))


def _rows(source: Source) -> Iterator[Row]:
    """A row a measurement; a video's second ones say a patient's split alone."""
    videos, seen = _videos(source), set[str]()
    for index, item, values, split in listed(source, TABLE, ("HashedFileName",), "split", SPLITS):
        name = video_name(values["HashedFileName"])
        if not name:
            source.quarantined("bad_path", item, "The row names no video.")
        elif name in seen:  # one more measurement of the same video
            yield {"patient_id": name, "split": split}
        elif name not in videos:
            source.quarantined("missing_file", f"{name}.avi", "Measured, in no batch.")
        elif path := source.usable_file(videos[name]):
            yield source.row(
                name,
                name,
                path=str(path),
                view="PLAX",
                split=split,
                n_frames=count(values.get("Frames")),
                fps=frame_rate(values.get("FPS")),
                height=count(values.get("Height")),
                width=count(values.get("Width")),
                source_row=index,
            )
        seen.add(name)
    for name in sorted(set(videos) - seen):
        reason = f"The file is not in {TABLE}, so it has no split."
        source.quarantined("unlisted_file", videos[name], reason)


def _videos(source: Source) -> dict[str, str]:
    """Videos, relative to the root, by name; of two with one name, the first batch's."""
    videos: dict[str, str] = {}
    for folder in ("Batch*", "Batch*/*", "videos", "Videos"):
        for path in sorted(source.root.glob(f"{folder}/*.[aA][vV][iI]")):
            item = path.relative_to(source.root).as_posix()
            if videos.setdefault(path.stem, item) != item:
                reason = "A video of this name is in an earlier batch, which is used."
                source.quarantined("duplicate_file", item, reason)
    return videos
