"""Sub-commands of `echofm` that the core contributes; each room has its own."""

from pathlib import Path
from typing import Annotated

import typer

from echofm_core import __version__
from echofm_core.data import commands as data
from echofm_core.inference import commands as inference
from echofm_core.live.options import PortOption, WebOption
from echofm_core.models import commands as models
from echofm_core.phantom import commands as phantom
from echofm_core.plan.reference import in_words
from echofm_core.report import commands as report
from echofm_core.runtime.error_reference import exit_codes


def register(app: typer.Typer) -> None:
    """Add the core's sub-commands, from ``data`` to ``predict``, and what explains them all."""
    for room in (data, inference, models, phantom, report):
        room.register(app)
    for command in (watch, errors, keys, version):
        app.command()(command)


def watch(
    run: Annotated[Path, typer.Argument(help="Run folder, of a simulation or between hospitals.")],
    web: WebOption = False,
    port: PortOption = 0,
) -> None:
    """Show a run while it goes on, or how it ended: sites, rounds, losses, time left.

    Read-only, and safe at any time. In a terminal it ends with the run; Ctrl-C ends it at once.
    With --web it prints the address of a page on this machine.

    For example: `echofm watch demo/run --web`.
    """
    from echofm_core.live.show import run_source, show

    show(run_source(run), web=web, port=port)


def errors(
    number: Annotated[
        int | None, typer.Argument(help="An exit code; without one, all are printed.")
    ] = None,
) -> None:
    """Say what an exit code means, and what to do.

    For example: `echofm errors 11`.
    """
    codes = exit_codes()
    chosen = [code for code in codes if number in (None, code.number)]
    if not chosen:
        known = ", ".join(str(code.number) for code in codes)
        raise typer.BadParameter(f"{number} is no exit code of echofm; there are {known}.")
    for code in chosen:
        typer.echo(f"{code.number:>3}  {code.name or code.meaning.rstrip('.')}")
        if code.name:
            typer.echo(f"     {code.meaning}")
        typer.echo(f"     What to do: {code.remedy}.")


def keys(
    table: Annotated[
        str, typer.Argument(help="A table of the plan, e.g. finetune; without one, all.")
    ] = "",
) -> None:
    """Print the keys that a plan may have: default, legal values, meaning.

    For example: `echofm keys finetune`.
    """
    typer.echo(in_words(table))


def version() -> None:
    """Print the version of EchoFM Federated."""
    typer.echo(__version__)
