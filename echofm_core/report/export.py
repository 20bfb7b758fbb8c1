"""What `echofm report` writes: reports, comparisons, tables and predictions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from echofm_core.report.cardiobench import RELEASES, prediction_files
from echofm_core.report.checklist.write import write_checklist
from echofm_core.report.formats import TableFormat
from echofm_core.report.page import write_report
from echofm_core.report.run_files import RunFiles, read_run
from echofm_core.report.side_by_side import side_by_side, write_side_by_side
from echofm_core.report.study_page import is_study, read_parts, write_study_report
from echofm_core.report.tables import write_tables
from echofm_core.run_claim import PLAN
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.files import check_place, write_whole

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
    """Write what is asked for, and yield each file; what is refused is refused before the first.

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
        OutputError: ``out`` or a run's folder, which gets its report, cannot be written.
    """
    if out:
        check_place(out, folder=True)
    found = [_read(folder) for folder in runs]
    for folder in runs:
        check_place(folder, folder=True)
    several = len(found) > 1
    compared = side_by_side(found) if several else None
    tables = [_prediction_files(run) for run in found] if predictions else []
    for run in found:
        yield _report(run.folder)
    home = out or found[0].folder / EXPORT
    if compared:
        yield write_side_by_side(compared, home / "side-by-side.html")
    for number, run in enumerate(found):
        here = home / run.folder.resolve().name if several else home
        if form:
            yield from write_tables(run, here, form)
        if predictions:
            yield from _written(tables[number], here / "cardiobench")
        if checklist:
            yield from (write_checklist(part, here / place) for part, place in _parts(run))


def _read(folder: Path) -> RunFiles:
    if not (folder / PLAN).is_file():
        raise PlanError(f"{folder} is no run folder: it has no {PLAN}.")
    return read_run(folder)


def _report(folder: Path) -> Path:
    if is_study(folder):
        return write_study_report(folder, [part.place for part in read_parts(folder)])
    return write_report(folder)


def _prediction_files(run: RunFiles) -> dict[str, pd.DataFrame]:
    """CardioBench's files of a run, by their path below its folder.

    Raises:
        PlanError: There is none.
    """
    parts = list(_parts(run))
    found = {
        (place / name).as_posix(): table
        for part, place in parts
        for name, table in prediction_files(part.predictions).items()
    }
    if not found:
        rows = [table for part, _ in parts for table in part.predictions.values()]
        sets = ", ".join(sorted({str(name) for table in rows for name in table["dataset"]}))
        none = run.missing.get("predictions", "its predictions are empty")
        raise PlanError(
            f"{run.folder} has no prediction that CardioBench has a file for "
            f"({', '.join(RELEASES)}): {f'its predictions are of {sets}' if sets else none}; "
            "nothing was written, leave --predictions out."
        )
    return found


def _written(tables: Mapping[str, pd.DataFrame], out: Path) -> Iterator[Path]:
    for name, table in tables.items():
        yield write_whole(out / name, table.to_csv(index=False).encode())


def _parts(run: RunFiles) -> Iterator[tuple[RunFiles, Path]]:
    """A run, with the folder below which its own are written; of a study, those of each seed."""
    if not is_study(run.folder):
        yield run, Path()
        return
    for part in read_parts(run.folder):
        for seed in part.seeds:
            place = Path(part.place) / f"seed-{seed}"
            yield read_run(run.folder / place), place
