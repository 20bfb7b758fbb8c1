"""The command ``echofm``: sub-commands come from each package through entry points."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from echofm_core import __version__
from echofm_core.errors import EchoFMError
from echofm_core.sub_commands import load_sub_commands

app = typer.Typer(
    name="echofm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="""Federated learning for echocardiogram video foundation models.

Start here:

* `echofm demo` trains a federation of four synthetic institutions and writes a report (8 minutes)
* `echofm simulate PLAN.toml` does the same for your own plan and data folders
* `echofm model --size base` prints what a model is made of
* `echofm keys` prints what a plan may hold, `echofm errors` what an exit code means
""",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print it, and end."
        ),
    ] = False,
) -> None:
    """Options of `echofm` itself."""


def main() -> None:
    """Run ``echofm``; an :class:`EchoFMError` becomes one sentence and its exit code."""
    try:
        load_sub_commands(app)
        app()
    except EchoFMError as error:
        typer.secho(f"echofm: {error}", fg=typer.colors.RED, err=True)
        typer.secho(
            f"(exit code {error.exit_code}; see `echofm errors {error.exit_code}`)", err=True
        )
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.secho("echofm: interrupted; a run goes on with --resume.", err=True)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        typer.secho("echofm: this is a bug in EchoFM Federated, please report it.", err=True)
        sys.exit(70)
