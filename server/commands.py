"""Sub-commands of `echofm` for the coordinator, from provision to stop."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echofm_core.live.options import PortOption, WebOption
from echofm_core.plan.preflight import preflight_notes
from echofm_core.run_claim import load_runnable, look
from echofm_core.runtime.errors import FederationError, PlanError
from echofm_core.tracking.listener import require_trackers
from server.aggregation.own_rule import own_rule
from server.kit import Kit
from server.last_run import stop_run
from server.launch import superlink
from server.release.signature import require_extra
from server.release.signature import verify as check_released

if TYPE_CHECKING:
    from echofm_core.plan.document import Plan

server = typer.Typer(
    no_args_is_help=True,
    help="""Coordinate a federation of hospitals.

    In this order: `provision` makes a folder, and the kit that each hospital gets; `admit` the key
    of each; `start` and leave it running; `propose` a plan; `run` it.""",
)

Folder = Annotated[Path, typer.Argument(help="The coordinator's folder.")]


def register(app: typer.Typer) -> None:
    """Add ``server``."""
    app.add_typer(server, name="server")


@server.command()
def provision(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Name under which sites reach the server.")],
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port for the sites, the proxy's; default: 443."),
    ] = None,
    local_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the SuperLink here; default: 8000."),
    ] = None,
) -> None:
    """Write authority, certificate and the kit for hospitals; run again, it renews what ends soon.

    Beside them, for this host and its ports: a systemd unit, nginx.conf, and SUMMARY.md, a page for
    the security officer. Keys are never overwritten. Example: `echofm server provision fed --host
    fl.example.org`, then hand fed/kit to every hospital: it holds no secret.
    """
    from server.provision import provision as write

    kit, renewed = write(folder, host, port, local_port=local_port)
    typer.echo(f"kit for every hospital: {kit.handout}")
    typer.echo(f"for this machine: {kit.unit.name}, {kit.nginx.name}; to sign: {kit.summary}")
    ports = kit.ports()
    if ports.public == ports.local:
        typer.echo(
            f"WARNING: port {ports.local} is both the sites' and the SuperLink's: nginx cannot "
            "listen there too. Give another --local-port, or --port.",
            err=True,
        )
    if renewed:
        typer.echo("the server's certificate is new: if `echofm server start` runs, start it again")


@server.command()
def admit(
    folder: Folder,
    site: Annotated[str, typer.Argument(help="The site's name.")],
    key: Annotated[str, typer.Argument(help="Its public key, or the file node.pub with it.")],
) -> None:
    """Let a site take part, under this name and with this key alone.

    The server may run meanwhile. Example: `echofm server admit fed north north.pub`.
    """
    from server.members import admit as let_in

    changed = let_in(Kit.at(folder), site, key)
    typer.echo(f"{site} is admitted{'' if changed else ' already'}")


@server.command()
def revoke(folder: Folder, site: Annotated[str, typer.Argument(help="The site's name.")]) -> None:
    """Let a site take part no more; its node is turned away at once.

    Example: `echofm server revoke fed north`.
    """
    from server.members import revoke as turn_away

    turn_away(Kit.at(folder), site)
    typer.echo(f"{site} is revoked")


@server.command()
def start(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to bind; leave it on loopback.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port to bind; default: the kit's local port."),
    ] = None,
    exposed: Annotated[
        bool, typer.Option(help="Bind beyond loopback; you keep others away from the port.")
    ] = False,
) -> None:
    """Run the SuperLink until Ctrl-C.

    Whoever reaches this port can run code on this machine, and ask the sites whatever an approved
    plan allows: keep it on loopback and let a reverse proxy pass /v1/fleet/ alone. Once it serves,
    the address that sites use is tried, and what answers there and must not is said.

    Example: `echofm server start fed`.
    """
    from server.certificates import check_lasting
    from server.members import register
    from server.self_check import check_bound, check_outside

    check_bound(host, exposed=exposed)
    kit = Kit.at(folder)
    port = port or kit.ports().local
    check_lasting(kit.certificate)
    with superlink(kit, host, port) as processes:
        # Before any node comes: one with an unknown key gives up.
        register(kit)
        typer.echo(f"SuperLink on {host}:{port}; logs in {folder}; Ctrl-C stops it.")
        typer.echo(check_outside(kit))
        while all(process.poll() is None for process in processes):
            time.sleep(1)
    raise FederationError(f"SuperLink or its launcher ended by itself; see the logs in {folder}.")


@server.command()
def propose(folder: Folder, plan: Annotated[Path, typer.Argument(help="TOML plan.")]) -> None:
    """Write a plan as hospitals approve it, before it is run: all that decides it, and no path.

    Example: `echofm server propose fed plan.toml`, then send the file to every hospital.
    """
    typer.echo(_hand_out(Kit.at(folder), _deployable(plan)))


@server.command()
def run(
    folder: Folder,
    plan: Annotated[Path, typer.Argument(help="TOML plan.")],
    out: Annotated[Path, typer.Option(help="Run folder on this machine.")],
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run.")] = False,
) -> None:
    """Run a plan on the sites of a started federation; exit code 0 only when it completed.

    Each round is printed with the sites that took part. Ctrl-C stops the run.

    Example: `echofm server run fed plan.toml --out runs/first`.
    """
    kit = Kit.at(folder)
    loaded = _deployable(plan)  # before anything that takes long to import
    look(out, loaded, resume=resume)

    from echofm_core.report.run_files import read_run
    from echofm_core.report.words import print_run
    from echofm_core.runtime.console import console
    from server.members import site_names
    from server.submit import submit

    names, least = site_names(kit), loaded.federation.min_sites
    if len(names) < least:
        raise PlanError(
            f"federation.min_sites is {least}, but this federation has {len(names)} sites "
            f"({', '.join(names)}); lower it, or admit more sites."
        )
    require_trackers(loaded.machine.track)
    own_rule(loaded)
    for note in preflight_notes(loaded):
        typer.echo(f"warning: {note}")
    typer.echo(f"plan {loaded.name}, hash {loaded.digest()[:12]}; progress in {out}/journal")
    typer.echo(_hand_out(kit, loaded))
    submit(kit, plan, out, resume=resume, show=typer.echo)
    print_run(read_run(out), console)
    typer.echo(f"finished: {out}/report.html, {out}/model")


@server.command()
def status(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say whether the SuperLink serves, who is there, and how the last run fares.

    A run is running, completed, failed or orphaned: killed, or without a sign of life. Exit code 0
    only where the SuperLink serves. Example: `echofm server status fed --json`.
    """
    from server.status import not_serving, status_of

    found = status_of(kit := Kit.at(folder))
    typer.echo(json.dumps(found.as_json(), indent=1) if as_json else "\n".join(found.lines()))
    if not found.serving:
        raise not_serving(kit)


@server.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="The coordinator's folder, or a run folder.")],
    web: WebOption = False,
    port: PortOption = 0,
) -> None:
    """Show the last run while it goes on: sites, rounds, losses, who is waited for.

    Read-only, and safe at any time. In a terminal it ends with the run; Ctrl-C ends it at once.
    With --web it prints the address of a page on this machine.

    Example: `echofm server watch fed --web`.
    """
    from echofm_core.live.show import show
    from server.live_view import view_source

    show(view_source(folder), web=web, port=port)


@server.command()
def release(
    run: Annotated[Path | None, typer.Argument(help="Run folder of a finished run.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to make.")] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Private key that signs, elliptic-curve PEM; made on first use in the "
            "coordinator's folder. With --verify: the signer's public key."
        ),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=LICENCE of a site's data, or of `start`, the weights that the run began "
            "with; may be given several times."
        ),
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Even of a run that is not finished; it says so.")
    ] = False,
    verify: Annotated[
        Path | None, typer.Option(help="Check this released folder, and make none.")
    ] = None,
) -> None:
    """Make the signed folder of a run that a governance office files, or check one.

    It holds the model with its card, the report, the plan, what left each site in which round and
    by which rules (RELEASE.md), a bill of materials, and the signature; nothing of single patients.
    A folder with one changed byte, or a file more or less, fails with exit code 26.

    Example: `echofm server release runs/first --out first-release --key fed/release.key`, then
    `echofm server release --verify first-release --key release.pub`.
    """
    if (verify is None) == (run is None):
        raise typer.BadParameter("give the run folder, or --verify with a released folder")
    if verify and (out or licence or unfinished):
        raise typer.BadParameter("--verify makes nothing: leave out --out, --licence, --unfinished")
    pairs = [text.partition("=") for text in licence or ()]
    if not all(name and text for name, _, text in pairs):
        raise typer.BadParameter("--licence is NAME=LICENCE")

    require_extra()
    if verify:
        found = check_released(verify, key)
        typer.echo(f"{verify} is as it was signed; key {found}")
        if key is None:
            typer.echo(
                "that key lies in the folder itself: compare these digits with the signer's, or "
                "give --key"
            )
        return
    if run is None or out is None or key is None:
        raise typer.BadParameter("give --out and --key")

    from server.release.make import ReleaseOptions
    from server.release.make import release as make

    named = {name: text for name, _, text in pairs}
    found = make(run, out, ReleaseOptions(key=key, licences=named, unfinished=unfinished))
    typer.echo(f"released: {out}, read {out}/RELEASE.md; key {found}")
    typer.echo(f"hand {out}/release.pub to whoever checks, and tell the key's digits otherwise")


@server.command()
def stop(folder: Folder) -> None:
    """Stop the run that is running; its `server run` ends with an error that says so.

    The server and the sites stay. Example: `echofm server stop fed`.
    """
    run = stop_run(Kit.at(folder))
    typer.echo(f"stopped the run in {run.folder}; to go on, run its plan again with --resume")


def _deployable(path: Path) -> Plan:
    """A plan file for hospitals.

    Raises:
        PlanError: It is none, or names sites that shall not train.
    """
    plan = load_runnable(path)
    if plan.protocol.unseen:
        raise PlanError(
            f"{path}: protocol.unseen names {', '.join(plan.protocol.unseen)}, but between "
            "hospitals every admitted site trains; take the key out, and admit no site that shall "
            "stay unseen."
        )
    return plan


def _hand_out(kit: Kit, plan: Plan) -> str:
    """Write the plan for hospitals, and say what becomes of it."""
    from server.provision import hand_out

    path = hand_out(kit, plan)
    return f"each hospital approves {path} with `echofm client approve FOLDER {path.name}`"
