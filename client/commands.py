"""Sub-commands of `echofm` for a hospital: check, start."""

from pathlib import Path
from typing import Annotated

import typer

from client.launch import command, environment, log_settings
from client.preflight import preflight
from echofm_core.runtime.child_process import child_process
from echofm_core.runtime.errors import FederationError

client = typer.Typer(no_args_is_help=True, help="Take part in a federation as a hospital.")

Folder = Annotated[Path, typer.Argument(help="The kit from the coordinator, with site.toml.")]
Port = Annotated[int, typer.Option(help="Local port of the node's own interface.")]


def register(app: typer.Typer) -> None:
    """Add ``client``."""
    app.add_typer(client, name="client")


@client.command()
def check(folder: Folder, port: Port = 9094) -> None:
    """Look at settings, manifest, splits, labels, store, keys, the server, and what it knows.

    One line each: ok, or FAIL with what to do; the exit code is that of the first FAIL.

    Example: `echofm client check north`.
    """
    _check(folder, port)


@client.command()
def start(folder: Folder, port: Port = 9094) -> None:
    """Run this site's SuperNode until Ctrl-C; only weights, counts and metrics leave it.

    Example: fill in north/site.toml (manifest, store, state), then `echofm client start north`.
    """
    _check(folder, port)
    log_settings(folder)
    with child_process(command(folder, port), environment(folder)) as node:
        code = node.wait()
    raise FederationError(
        f"the SuperNode ended by itself with exit code {code}; see above, and start it again after "
        "a minute: the server refuses a node that comes back sooner."
    )


def _check(folder: Path, port: int) -> None:
    """Print each line of the preflight; a FAIL ends the command after all checks."""
    failed = 0
    for line in preflight(folder, port):
        typer.echo(str(line))
        failed = failed or line.exit_code
    if failed:
        raise typer.Exit(failed)
