"""`echofm evaluate`, `predict` and `export`: a trained model on data, on files, and handed on."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echofm_core.models.weights_file import find_weights
from echofm_core.plan.machine import MachineConfig
from echofm_core.plan.preflight import check_places, check_roots
from echofm_core.run_claim import refuse_run
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.runtime.files import check_place, write_whole
from echofm_core.runtime.text import many
from echofm_core.training.execution.devices import check_device_word

if TYPE_CHECKING:
    import pandas as pd


class Form(StrEnum):
    """How predictions are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add ``evaluate``, ``predict`` and ``export``."""
    app.command()(evaluate)
    app.command()(predict)
    app.command()(export)


def evaluate(
    model: Annotated[Path, typer.Argument(help="model.safetensors, its folder, or a run folder.")],
    roots: Annotated[list[Path] | None, typer.Argument(help="Data folders, as downloaded.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for predictions and scores.")] = None,
    everything: Annotated[
        bool, typer.Option(help="Score all clips, of data that the model never saw.")
    ] = False,
    seen: Annotated[
        bool, typer.Option(help="Score patients whom the model was trained on, too.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Run folder, or a site's state folder, with the record of its training."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of decoded clips; default: OUT/cache.")
    ] = None,
    stress: Annotated[
        bool, typer.Option(help="Score the test clips changed in one way at a time, too.")
    ] = False,
) -> None:
    """Score a model on labelled data, with intervals over patients.

    Clips are split as the model's own plan splits them, and the test part counts; a floor that
    needs no network, fitted on the training part, stands beside it. With --everything all clips
    count, which is right for an institution that took no part in training, and there is no floor.

    Patients whom the model was trained on are counted, and refused unless --seen is given (exit
    code 19). What is known of them stands in keyed hashes in the run folder of the training, or in
    the state folder of a site (--record), and never travels with a model: of one that was handed on
    the command says "unknown".

    With --stress the test clips are changed by computation, in one way at a time and at three
    strengths: depth, gain up and down, shadow, speckle, frame rate, dropped frames. The table says
    what each costs beside the clips as they are. Without data folders it is a run's own test clips
    at each of its sites, and the table goes into the run folder and its report.

    For example:

    * `echofm evaluate runs/ef ~/EchoNet-Pediatric --everything --out runs/external`
    * `echofm evaluate runs/ef --stress`
    """
    if not roots and stress:
        if out or everything or seen or record:
            raise typer.BadParameter(
                "--out, --everything, --seen and --record belong to data folders, and none is "
                "given; a run's own stressed test clips go into the run folder."
            )
        _stress(model, cache)
        return
    if not roots or out is None:
        raise typer.BadParameter(
            "give data folders and --out FOLDER; a run's own test clips are scored with --stress."
        )
    find_weights(model)  # before anything that takes long to import
    check_roots(roots)
    for folder in filter(None, (out, cache)):
        check_place(folder, folder=True)
    refuse_run(out)

    from echofm_core.data.training_record import find_record
    from echofm_core.inference.evaluate import evaluate_model
    from echofm_core.models.saved import load_model
    from echofm_core.report.run_files import read_run
    from echofm_core.report.stress import print_stress
    from echofm_core.report.words import print_run
    from echofm_core.runtime.console import console

    saved, folders = load_model(model), tuple(str(root.resolve()) for root in roots)
    plan = evaluate_model(
        saved,
        MachineConfig(roots=folders, cache=str(cache or out / "cache")),
        out,
        find_record(model, saved.plan.digest(), record),
        everything=everything,
        seen=seen,
        stress=stress,
        say=_note,
    )
    print_run(replace(read_run(out), plan=plan), console)
    typer.echo(f"scores: {out / 'scores.parquet'}")
    if stress:
        print_stress(out, console)


def _stress(run: Path, cache: Path | None) -> None:
    """Stress a run's own test clips; write the table, and the report anew."""
    from echofm_core.inference.stress import stress_run
    from echofm_core.report.page import write_report
    from echofm_core.report.stress import print_stress
    from echofm_core.runtime.console import console

    stress_run(run, cache, _note)
    print_stress(run, console)
    typer.echo(f"report: {write_report(run)}")


def _note(words: str) -> None:
    typer.echo(f"note: {words}")


def predict(
    model: Annotated[Path, typer.Argument(help="model.safetensors, its folder, or a run folder.")],
    places: Annotated[list[Path], typer.Argument(help="AVI, MP4, DICOM, NIfTI, or folders.")],
    form: Annotated[Form, typer.Option(help="What is printed.")] = Form.TABLE,
    out: Annotated[
        Path | None, typer.Option(help="File to write instead of printing: NAME.csv or NAME.json.")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a PNG a file: where the model looked.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
) -> None:
    """Read EF, volumes, reduced EF and aortic stenosis from cines. NOT a medical device.

    Each file is decoded, cut to its sector and covered with windows, as in training. The value is
    the mean over windows; low and high are the least and the greatest window, which says how
    steady the reading is, not how near the truth. A file that cannot be read is a row of its own
    with the reason; the exit code is 0 if any file was read. Pictures are numbered as the files
    are, since a file's name may be a patient's; the table says which is whose.

    For example:

    * `echofm predict runs/ef clip.avi cine.dcm`
    * `echofm predict runs/ef/model exports/ --form csv --out predictions.csv --pictures looks`
    """
    check_device_word(device)  # before anything that takes long to import
    find_weights(model)
    check_places(places)
    if out is not None:
        form = _form_of(out, form)
        check_place(out, folder=False)
    if pictures is not None:
        check_place(pictures, folder=True)

    from echofm_core.inference.files import files_at
    from echofm_core.inference.table import REFUSED, read_files
    from echofm_core.models.saved import load_model
    from echofm_core.runtime.console import progress

    saved, files = load_model(model), files_at(places)
    # Where the numbers go to standard output, nothing else may.
    silent = form is not Form.TABLE and out is None
    with nullcontext() if silent else progress("reading", len(files)) as meter:
        table = read_files(saved, files, device, pictures, meter)
    _show(table, form, out)
    if (table["task"] == REFUSED).all():
        raise UnreadableFileError(
            f"of {many(len(files), 'file')} none could be read; see the notes."
        )


def export(
    model: Annotated[Path, typer.Argument(help="model.safetensors, its folder, or a run folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    onnx: Annotated[bool, typer.Option(help="Also write an ONNX file.")] = True,
) -> None:
    """Hand a model on: weights and card, and an ONNX file that needs none of this software.

    The ONNX file takes grey frames and times and gives percent, ml and probabilities; it is checked
    against PyTorch at several batch sizes and kept only where they agree to 1e-4.

    For example: `echofm export runs/ef --out handed-on`.
    """
    find_weights(model)  # before anything that takes long to import
    check_place(out, folder=True)

    from echofm_core.inference.export import ONNX, export_folder
    from echofm_core.models.saved import load_model

    worst = export_folder(load_model(model), model, out, onnx=onnx)
    typer.echo(f"model: {out}")
    if worst is not None:
        typer.echo(f"{ONNX}: differs from PyTorch by {worst:.1e} at most")


def _form_of(out: Path, form: Form) -> Form:
    """What a file holds, by its ending; a table is for the terminal alone."""
    by_ending = {".csv": Form.CSV, ".json": Form.JSON}
    if out.suffix not in by_ending:
        raise typer.BadParameter("--out must end in .csv or .json.")
    found = by_ending[out.suffix]
    if form not in (Form.TABLE, found):
        raise typer.BadParameter(f"--form {form} does not go with --out {out.name}; leave it out.")
    return found


def _show(table: pd.DataFrame, form: Form, out: Path | None) -> None:
    """Print the predictions, or write them to a file, whole or not at all."""
    if form is Form.TABLE:
        _print(table)
        return
    if form is Form.JSON:
        text = table.to_json(orient="records", indent=1) + "\n"
    else:
        text = table.to_csv(index=False)
    if out is None:
        typer.echo(text, nl=False)
        return
    write_whole(out, text.encode())
    typer.echo(f"{many(table['file'].nunique(), 'file')} in {out}")


def _print(table: pd.DataFrame) -> None:
    from rich.table import Table

    from echofm_core.runtime.console import console

    for file, rows in table.groupby("file", sort=False):
        console.print(f"\n{file}\n  {_line(rows.iloc[0])}", markup=False)
        if rows["task"].iloc[0] == "refused":
            continue
        shown = Table("", "value", "least window", "greatest", "unit")
        for row in rows.to_dict("records"):
            digits = 1 if row["unit"] in ("%", "ml") else 2
            numbers = (f"{row[name]:.{digits}f}" for name in ("value", "low", "high"))
            shown.add_row(row["task"], *numbers, row["unit"])
        console.print(shown)
    console.print("Not a medical device.")


def _line(row: pd.Series) -> str:
    """What is said of a file above its numbers, or in their place."""
    if row["task"] == "refused":
        return f"refused: {row['note']}"
    rate = "frame rate unknown" if row["fps"] is None else f"{row['fps']:.1f} a second"
    windows = many(int(row["windows"]), "window")
    frames, picture = many(int(row["frames"]), "frame"), row["picture"]
    parts = (frames, rate, windows, row["note"], picture and f"picture {picture}")
    return ", ".join(filter(None, parts))
