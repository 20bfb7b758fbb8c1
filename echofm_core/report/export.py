"""What `echofm report` writes: reports, comparisons, tables and predictions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from echofm_core.report.cardiobench import RELEASES, write_predictions
from echofm_core.report.checklist.write import write_checklist
from echofm_core.report.formats import TableFormat
from echofm_core.report.page import write_report
from echofm_core.report.run_files import RunFiles, read_run
from echofm_core.report.side_by_side import side_by_side, write_side_by_side
from echofm_core.report.study_page import is_study, read_parts, write_study_report
from echofm_core.report.tables import write_tables
from echofm_core.run_claim import PLAN
from echofm_core.runtime.errors import PlanError

#: Folder of a run that gets its tables and predictions.
EXPORT = "export"


def export(
    runs: Sequence[Path],
    form: TableFormat | None,
    *,
    predictions: bool,
    checklist: bool = False,
    out: Path | None,
) -> Iterator[Path]:
    """Write what is asked for, and yield each file.

    Args:
        runs: Folders of runs or studies.
        form: Of tables; None: none are written.
        predictions: Write CardioBench's files.
        checklist: Write ``checklist.md``.
        out: Folder for tables, predictions, checklists and the comparison; by default ``export`` in
            the (first) run's folder.

    Raises:
        PlanError: A folder is that of no run, several runs are given of which one has no scores,
            or predictions are asked for where there are none of a data set that CardioBench has.
    """
    found = [_read(folder) for folder in runs]
    for run in found:
        yield _report(run.folder)
    place = out or found[0].folder / EXPORT
    if len(found) > 1:
        yield write_side_by_side(side_by_side(found), place / "side-by-side.html")
    for run in found:
        here = place / run.folder.resolve().name if len(found) > 1 else place
        if form:
            yield from write_tables(run, here, form)
        if predictions:
            yield from _predictions(run, here / "cardiobench")
        if checklist:
            yield from (write_checklist(*part) for part in _parts(run, here))


def _read(folder: Path) -> RunFiles:
    if not (folder / PLAN).is_file():
        raise PlanError(f"{folder} is no run folder: it has no {PLAN}.")
    return read_run(folder)


def _report(folder: Path) -> Path:
    if is_study(folder):
        return write_study_report(folder, [part.place for part in read_parts(folder)])
    return write_report(folder)


def _predictions(run: RunFiles, out: Path) -> list[Path]:
    written = [
        path
        for one, place in _parts(run, out)
        for path in write_predictions(one.predictions, place)
    ]
    if not written:
        raise PlanError(
            f"{run.folder} has no predictions of {', '.join(RELEASES)}: no file for CardioBench."
        )
    return written


def _parts(run: RunFiles, out: Path) -> Iterator[tuple[RunFiles, Path]]:
    """A run, and the folder of what is written of it; of a study, those of each seed."""
    if not is_study(run.folder):
        yield run, out
        return
    for part in read_parts(run.folder):
        for seed in part.seeds:
            place = Path(part.place) / f"seed-{seed}"
            yield read_run(run.folder / place), out / place
