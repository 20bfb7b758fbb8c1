"""Sub-commands of `echofm` for this room. Heavy imports stay inside the functions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

phantom = typer.Typer(no_args_is_help=True, help="Write synthetic data in public layouts.")


class Layout(StrEnum):
    """What to write."""

    ALL = "all"
    ECHONET_DYNAMIC = "echonet_dynamic"
    CAMUS = "camus"
    MIMIC_IV_ECHO = "mimic_iv_echo"
    TMED2 = "tmed2"


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands."""
    app.add_typer(phantom, name="phantom")


@phantom.command()
def write(
    folder: Annotated[Path, typer.Argument(help="New folder for the data.")],
    layout: Annotated[Layout, typer.Option(help="Which public layout.")] = Layout.ALL,
    patients: Annotated[int, typer.Option(min=1, help="Patients at each institution.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
    errors: Annotated[bool, typer.Option(help="Plant the public sets' known errors.")] = True,
) -> None:
    """Write SYNTHETIC institutions: beating hearts with exact labels, seen by distinct scanners.

    Beside each data root lie ROOT.truth.csv (what was drawn) and ROOT.planted.csv (what was
    spoilt on purpose). The MIMIC layout also gets one REAL cine, which the pydicom package ships.

    Examples: `echofm phantom write data`; `echofm phantom write --layout camus --patients 50
    --no-errors data`.
    """
    from echofm_core.console import console, progress
    from echofm_core.phantom.institutions import PhantomSize, write_institutions

    wanted = {
        name: patients if layout in (Layout.ALL, of) else 0
        for name, of in (
            ("echonet", Layout.ECHONET_DYNAMIC),
            ("camus", Layout.CAMUS),
            ("mimic", Layout.MIMIC_IV_ECHO),
            ("tmed", Layout.TMED2),
        )
    }
    size = PhantomSize(**wanted)
    with progress("writing phantoms", size.patients) as meter:
        roots = write_institutions(folder, size=size, seed=seed, errors=errors, meter=meter)
    for root in roots:
        console.print(f"synthetic data: {root}")
