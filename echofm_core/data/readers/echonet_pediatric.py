"""EchoNet-Pediatric (Lucile Packard, Stanford): children's AVI videos with EF, two views.

Layout: ``A4C/`` and ``PSAX/``, each with ``FileList.csv``, ``VolumeTracings.csv`` and ``Videos/``;
the archive nests them twice. Source: Reddy 2023.

Choices: the first token of a file name is the patient; fold 0 is the test split and fold 1 the
validation split, as benchmarks on it use them; a patient in several folds goes to the one that is
held out more. EF is by area and length, and there are no volumes.
"""

from collections.abc import Iterator
from functools import partial

from echofm_core.data.manifest import Split
from echofm_core.data.readers._api import Reader, is_there
from echofm_core.data.readers._source import Row, Source, integer, positive, sex_of
from echofm_core.data.readers.echonet_dynamic import Tracings, Videos, check_tracings, read_videos
from echofm_core.tasks import Task

#: View -> what there must be of it.
LAYOUTS = {view: (f"{view}/FileList.csv", f"{view}/Videos/") for view in ("A4C", "PSAX")}
FOLDS = {"0": Split.TEST, "1": Split.VALIDATION, **dict.fromkeys("23456789", Split.TRAIN)}


class EchoNetPediatricReader(Reader):
    """Reads the release as downloaded, both views."""

    dataset = "echonet_pediatric"
    layouts = tuple(LAYOUTS.values())

    def rows(self, source: Source) -> list[Row]:
        """The listed videos that are there."""
        return source.one_split_a_patient(row for view in LAYOUTS for row in _rows(source, view))


def _rows(source: Source, view: str) -> Iterator[Row]:
    if not is_there(source.root, LAYOUTS[view]):
        reason = "The view has no FileList.csv and Videos/; the other view is used alone."
        source.repaired("missing_view", view, reason)
        return
    videos = read_videos(source, f"{view}/", ("EF",), FOLDS, partial(_row, source, view))
    check_tracings(source, f"{view}/", ("X", "Y"), videos, _wrong_tracings)
    yield from videos.values()


def _row(source: Source, view: str, name: str, values: dict[str, str], item: str) -> Row:
    return source.row(
        name.partition("-")[0],
        f"{view}_{name}",
        study_id="-".join(name.split("-")[:2]),
        view=view,
        sex=sex_of(values.get("Sex")),
        age=positive(values.get("Age")),
        ef=source.label(values["EF"], Task.EF, item),
    )


def _wrong_tracings(tracings: Tracings, _: Videos) -> dict[str, set[str]]:
    unnumbered = {name for name, values in tracings if integer(values["Frame"]) is None}
    return {"tracing_without_frame": unnumbered}
