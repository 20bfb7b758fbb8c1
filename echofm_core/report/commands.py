"""`echofm report`: a report built again, runs beside each other, and their tables as files."""

from pathlib import Path
from typing import Annotated

import typer

from echofm_core.report.formats import TableFormat


def register(app: typer.Typer) -> None:
    """Add ``report``."""
    app.command()(report)


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or those of studies.")],
    form: Annotated[
        TableFormat | None, typer.Option("--format", help="Write the tables too, in this format.")
    ] = None,
    predictions: Annotated[
        bool, typer.Option(help="Write CardioBench's prediction files too.")
    ] = False,
    checklist: Annotated[
        bool, typer.Option(help="Write what a run answers of CLAIM and TRIPOD+AI too.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of what is written; default: RUN/export.")
    ] = None,
) -> None:
    """Build a run's report again from its files, and compare several runs.

    Nothing is trained or tested. Of one run or study its report.html is written anew. Of several,
    side-by-side.html compares the models that they are about, on the same patients where they
    share them. With --format, the tables and the data behind every figure are written; with
    --predictions, test predictions in the files that CardioBench reads: they are of single
    patients, and belong where the data may be. With --checklist, checklist.md: the items of CLAIM
    and TRIPOD+AI that a run can answer from its files, and blanks for the authors.

    For example: `echofm report runs/ef --format latex`;
    `echofm report runs/ef runs/ef-fedprox --out compared`.
    """
    from echofm_core.report.export import export

    for path in export(runs, form, predictions=predictions, checklist=checklist, out=out):
        typer.echo(path)
