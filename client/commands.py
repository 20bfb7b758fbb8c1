"""Sub-commands of `echofm` for a hospital: check, start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

client = typer.Typer(no_args_is_help=True, help="Take part in a federation as a hospital.")

Folder = Annotated[Path, typer.Argument(help="The kit from the coordinator, with site.toml.")]


def register(app: typer.Typer) -> None:
    """Add ``client``."""
    app.add_typer(client, name="client")


@client.command()
def check(folder: Folder) -> None:
    """Look at settings, data, keys and the way to the server before anything starts.

    Example: `echofm client check north`.
    """
    from client.launch import check as look

    for line in look(folder):
        typer.echo(f"ok: {line}")


@client.command()
def start(
    folder: Folder,
    port: Annotated[int, typer.Option(help="Local port of the node's own interface.")] = 9094,
) -> None:
    """Run this site's SuperNode until Ctrl-C; only weights, counts and metrics leave it.

    Example: fill in north/site.toml (manifest, store, state), then `echofm client start north`.
    """
    import subprocess

    from client.launch import check as look
    from client.launch import command, environment

    look(folder)
    raise typer.Exit(
        subprocess.run(command(folder, port), env=environment(folder), check=False).returncode
    )
