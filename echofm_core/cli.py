"""The command ``echofm``: sub-commands come from each package through entry points."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import entry_points

import typer

from echofm_core import __version__
from echofm_core.errors import EchoFMError

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
""",
)


@app.callback()
def _root() -> None:
    """Keep sub-commands even when there is only one."""


@app.command()
def version() -> None:
    """Print the version of EchoFM Federated."""
    typer.echo(__version__)


def main() -> None:
    """Run ``echofm``; an :class:`EchoFMError` becomes one sentence and its exit code."""
    for entry in sorted(entry_points(group="echofm.commands"), key=lambda item: item.name):
        entry.load()(app)
    try:
        app()
    except EchoFMError as error:
        typer.secho(f"echofm: {error}", fg=typer.colors.RED, err=True)
        typer.secho(f"(exit code {error.exit_code}: docs/reference/errors.md)", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.secho("echofm: interrupted; a run goes on with --resume.", err=True)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        typer.secho("echofm: this is a bug in EchoFM Federated, please report it.", err=True)
        sys.exit(70)
