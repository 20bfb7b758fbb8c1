"""Sub-commands of `echofm` for this room. Heavy imports stay inside the functions."""

from pathlib import Path
from typing import Annotated

import typer

from echofm_core.plan.complaints import unknown_word
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.files import check_place

phantom = typer.Typer(
    no_args_is_help=True,
    help="Write SYNTHETIC data: public layouts, or hospitals in which more moves than the heart.",
)

ALL = "all"


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands."""
    app.add_typer(phantom, name="phantom")


@phantom.command()
def write(
    folder: Annotated[Path, typer.Argument(help="New folder for the data.")],
    layout: Annotated[
        list[str] | None,
        typer.Option(help="Which public layout, or `all`; may be given several times."),
    ] = None,
    patients: Annotated[int, typer.Option(min=1, help="Patients at each institution.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
    errors: Annotated[bool, typer.Option(help="Plant the public sets' known errors.")] = True,
) -> None:
    """Write SYNTHETIC institutions: beating hearts with exact labels, seen by distinct scanners.

    Layouts: echonet_dynamic, camus, camus_mhd, mimic_iv_echo, mimic_lvvol_a4c, tmed2,
    echonet_pediatric, echonet_lvh, hmc_qu, cardiac_uda, and own_files (a hospital's DICOM and AVI
    with a mapping file).

    Beside each data root lie ROOT.truth.csv (what was drawn) and ROOT.planted.csv (what was
    spoilt on purpose). The MIMIC layout also gets one REAL cine, which the pydicom package ships.

    Examples: `echofm phantom write data`; `echofm phantom write --layout camus --patients 50
    --no-errors data`.
    """
    from echofm_core.phantom.institutions import Layout, write_institutions
    from echofm_core.runtime.console import console, progress

    names = [item.value for item in Layout]
    for word in layout or []:
        if word not in (legal := (ALL, *names)):
            raise PlanError(f"--layout: {unknown_word('layout', word, legal)}.")
    check_place(folder, folder=True)
    chosen = names if not layout or ALL in layout else layout
    wanted = dict.fromkeys(map(Layout, chosen), patients)
    with progress("writing phantoms", patients * len(wanted)) as meter:
        roots = write_institutions(folder, wanted, seed=seed, errors=errors, meter=meter)
    for root in roots:
        console.print(f"synthetic data: {root}")


@phantom.command()
def hospitals(
    folder: Annotated[Path | None, typer.Argument(help="New folder for the data.")] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Which one; several times for several. Default: all but summit."),
    ] = None,
    draw: Annotated[int, typer.Option(min=0, help="So many more, drawn from their ranges.")] = 0,
    patients: Annotated[int, typer.Option(min=1, help="Patients at each hospital.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
    show: Annotated[
        bool, typer.Option("--list", help="Print what differs, write nothing.")
    ] = False,
) -> None:
    """Write SYNTHETIC hospitals in which more moves than the heart: chest, probe, knobs, rhythm.

    Each has its own machines, population, protocol, readers and motion, which also vary within it;
    a coarse statistic of the grey values does not read their ejection fraction. A folder NAME is
    what `echofm data index` reads (echofm.toml, export.csv, cines); its table has what a reader
    measured, NAME.truth.csv beside it what was drawn. `summit` is sealed: nothing is tuned on it,
    and it is written only where it is named.

    Examples: `echofm phantom hospitals --list`; `echofm phantom hospitals data --patients 70`;
    `echofm phantom hospitals data --name valley --draw 20`.
    """
    from echofm_core.phantom.hospitals import HOSPITALS, SEALED, draw_hospital, table
    from echofm_core.phantom.institutions import write_hospitals
    from echofm_core.runtime.console import console, progress

    known = {item.name: item for item in (*HOSPITALS, SEALED)}
    for word in name or []:
        if word not in known:
            raise PlanError(f"--name: {unknown_word('hospital', word, list(known))}.")
    chosen = [known[key] for key in dict.fromkeys(name or [item.name for item in HOSPITALS])]
    chosen += [draw_hospital(seed, number) for number in range(draw)]
    if show:
        console.print(table(chosen))
        return
    if folder is None:
        raise typer.BadParameter("no folder is given; say where, or --list.")
    check_place(folder, folder=True)
    with progress("writing phantoms", patients * len(chosen)) as meter:
        roots = write_hospitals(folder, chosen, patients, seed=seed, meter=meter, workers=2)
    for root in roots:
        console.print(f"synthetic data: {root}")
