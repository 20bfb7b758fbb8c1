"""The command ``echofm``: sub-commands come from each package through entry points."""

import signal
import sys
import threading
import traceback
from typing import Annotated

import click
import typer

from echofm_core import __version__
from echofm_core.runtime.child_process import kill_descendants
from echofm_core.runtime.errors import EchoFMError
from echofm_core.runtime.files import naming_full_disk, naming_refused_place
from echofm_core.runtime.signals import Stopped, install_handlers, leave
from echofm_core.sub_commands import load_sub_commands

app = typer.Typer(
    name="echofm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    suggest_commands=False,  # click says it; typer would say it again
    help="""Federated learning for echocardiogram video foundation models.

Start here:

* `echofm demo` trains a federation of synthetic hospitals and writes a report (6 minutes)
* `echofm data doctor FOLDERS` says what your data folders hold, and what is wrong with them
* `echofm simulate PLAN.toml` does what the demo does for your own plan and data folders
* `echofm predict RUN FILES` reads cines with a trained model
* `echofm client --help` and `echofm server --help` begin a federation between hospitals
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
            "--version", callback=_print_version, is_eager=True, help="Print the version, and end."
        ),
    ] = False,
) -> None:
    """Options of `echofm` itself."""


def main() -> None:
    """Run ``echofm``; an :class:`EchoFMError` becomes one sentence and its exit code."""
    install_handlers(_say_stopped)
    try:
        _run()
    except Stopped as stop:
        _say_stopped(stop.number)
        kill_descendants()  # the parent of forks may still be loading modules
        leave(stop.exit_code)


def _run() -> None:
    try:
        load_sub_commands(app)
        with naming_refused_place(), naming_full_disk():
            app()
    except EchoFMError as error:
        typer.secho(f"echofm: {error}", fg=typer.colors.RED, err=True)
        typer.secho(
            f"(exit code {error.exit_code}; see `echofm errors {error.exit_code}`)", err=True
        )
        leave(error.exit_code)
    except Exception:
        traceback.print_exc()
        typer.secho("echofm: this is a bug in EchoFM Federated, please report it.", err=True)
        leave(70)


_saying = threading.Lock()


def _say_stopped(number: int) -> None:
    """One line, once: that it was stopped, and how to go on."""
    if _saying.acquire(blocking=False):
        how = " with --resume" if _takes_resume(sys.argv[1:]) else ""
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        typer.echo(
            f"echofm: stopped by {name}; to go on, run the same command again{how}.", err=True
        )


def _takes_resume(words: list[str]) -> bool:
    """Has the command of these words an option ``--resume`` that is not among them?"""
    command = typer.main.get_command(app)
    for word in words:
        if isinstance(command, click.Group):
            command = command.commands.get(word, command)
    return "--resume" not in words and any(item.name == "resume" for item in command.params)
