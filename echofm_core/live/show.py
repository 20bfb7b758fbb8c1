"""Showing a run until it is over, or for ever: the same for every command that watches."""

import time
from collections.abc import Callable
from pathlib import Path

import typer

from echofm_core.live.run_data import RunReader
from echofm_core.live.terminal import INTERVAL, watch_in_terminal
from echofm_core.live.view import View, view_of
from echofm_core.runtime.console import console
from echofm_core.runtime.errors import DataRootError


def run_source(folder: Path) -> Callable[[], View]:
    """Gives the view of a run folder as it is when asked.

    Raises:
        DataRootError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataRootError(f"{folder} is no folder; give the run folder, --out of the run.")
    reader = RunReader(folder)
    return lambda: view_of(reader.read())


def show(source: Callable[[], View], *, web: bool, port: int = 0) -> None:
    """Show a run in the terminal until it is over, or on a page until this command is stopped."""
    if port and not web:
        raise typer.BadParameter("--port is that of the page; add --web, or leave it out.")
    if not web:
        watch_in_terminal(source, console)
        return
    from echofm_core.live.web import serving

    with serving(source, port) as address:
        typer.echo(f"open {address}")
        typer.echo("Whoever has this address can look until Ctrl-C.")
        while True:
            time.sleep(INTERVAL)
