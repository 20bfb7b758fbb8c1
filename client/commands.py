"""Sub-commands of `echofm` for a hospital: init, approve, check, start, budget, audit."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from client import data_commands
from client.approval import read_approvals, record_approval, withdraw
from client.enroll import enroll
from client.launch import command, environment, load_site, log_settings
from client.preflight import lasting_fault, preflight
from client.supervise import supervise
from echofm_core.run_claim import load_runnable
from echofm_core.runtime.child_process import child_process
from echofm_core.runtime.files import check_place, owners_alone
from echofm_core.runtime.text import many

client = typer.Typer(
    no_args_is_help=True,
    help="""Take part in a federation as a hospital.

    In this order: `init` makes a folder with a key, whose public part goes to the coordinator; fill
    in its site.toml; `check`; `approve` a plan; `start`.""",
)

Folder = Annotated[Path, typer.Argument(help="The site's folder, from `echofm client init`.")]
Port = Annotated[
    int, typer.Option(min=1, max=65535, help="Local port of the node's own interface.")
]


def register(app: typer.Typer) -> None:
    """Add ``client``."""
    data_commands.add(client)
    app.add_typer(client, name="client")


@client.callback()
def own_files(context: typer.Context) -> None:
    """Whatever a command here makes, and what it starts, is its owner's alone."""
    context.with_resource(owners_alone())


@client.command()
def init(
    kit: Annotated[Path, typer.Argument(help="The coordinator's kit.")],
    name: Annotated[str, typer.Argument(help="This site's name, as agreed with the coordinator.")],
    out: Annotated[Path | None, typer.Option(help="Folder to make; default: the name.")] = None,
) -> None:
    """Make this site's folder: its own key, which never leaves it, and settings to fill in.

    Run again, it keeps key and settings. Example: `echofm client init kit north`.
    """
    folder = out or Path(name)
    public = enroll(kit, name, folder)
    typer.echo(f"fill in {folder}/site.toml: where the data are, and what this site allows")
    typer.echo(f"send the coordinator {folder}/node.pub, the public key of {name}, which is:")
    typer.echo(public)


@client.command()
def approve(
    folder: Folder,
    plan: Annotated[
        Path | None, typer.Argument(help="The plan as the coordinator handed it; none: list.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without being asked.")] = False,
) -> None:
    """Read in plain words what a plan will do here and send, and approve it for the installed code.

    Without an approved plan nothing runs here, and after an update of this package each is to be
    approved again. Example: `echofm client approve north first-1a2b3c4d.toml`.
    """
    site = load_site(folder)
    if plan is None:
        lines = [item.line() for item in read_approvals(folder).values()]
        typer.echo("\n".join(lines) or "no plan is approved here")
        return
    check_place(folder, folder=True)  # before anybody reads what the plan does
    loaded = load_runnable(plan)

    from client.plan_words import plan_in_words

    for line in plan_in_words(loaded, site):
        typer.echo(line)
    if not yes:
        typer.confirm("approve this plan?", abort=True)
    typer.echo(f"approved: {record_approval(folder, loaded).line()}")


@client.command()
def withdraw_approval(
    folder: Folder,
    run: Annotated[str, typer.Argument(help="Name of the run, or start of the plan's hash.")],
) -> None:
    """Take the approval of a plan back; from the next message on it is declined here.

    Example: `echofm client withdraw-approval north first-1a2b3c4d`.
    """
    load_site(folder)
    typer.echo(f"withdrawn: {withdraw(folder, run).line()}")


@client.command()
def check(
    folder: Folder,
    port: Port = 9094,
    quick: Annotated[bool, typer.Option("--quick", help="Without a step of training.")] = False,
) -> None:
    """Look at settings, data, disk, memory, devices, the way to the server, and what it knows.

    One line each: ok, or FAIL with what to do; the exit code is that of the first FAIL. A few steps
    of training over the site's own clips, with the model of the plan that was approved last, say
    how long a round takes.

    Example: `echofm client check north`.
    """
    _check(folder, port, quick=quick)


@client.command()
def start(folder: Folder, port: Port = 9094) -> None:
    """Run this site's node until Ctrl-C; only weights, counts and metrics leave it.

    It answers runs of the installed package alone: a run that brings code of its own is refused.
    A node that ends, whatever the reason, is started again: every 5 s for a minute and a half, then
    ever later, up to a minute. A key that the server does not know, or a certificate that is not
    the kit's, ends it.

    Example: fill in north/site.toml (manifest, store, state), then `echofm client start north`.
    """
    _check(folder, port)
    log_settings(folder)

    def run() -> int:
        with child_process(command(folder, port), environment(folder)) as node:
            return node.wait()

    supervise(run, lambda: lasting_fault(folder, port), typer.echo)


@client.command()
def budget(folder: Folder) -> None:
    """Show what this hospital has spent of its patients' privacy: by run, in all, and what is left.

    Example: `echofm client budget north`.
    """
    site = load_site(folder)

    from echofm_core.privacy.ledger import Ledger

    ledger, own = Ledger(Path(site.state)), site.policy.budget
    for run, entries in ledger.runs().items():
        noise = ", ".join(sorted({f"{entry.noise:.3g}" for entry in entries}))
        typer.echo(
            f"{run}: {many(len(entries), 'private round')}, noise {noise}, epsilon "
            f"{ledger.epsilon(own.delta, run):.2f}"
        )
    spent = ledger.epsilon(own.delta)
    left = "total_epsilon sets no limit"
    if own.epsilon is not None:
        left = f"{max(0.0, own.epsilon - spent):.2f} left of total_epsilon = {own.epsilon:g}"
    typer.echo(f"all runs together: epsilon {spent:.2f} at delta = {own.delta:g}; {left}")


@client.command()
def audit(
    folder: Folder,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every line of audit and privacy ledger.")
    ] = False,
    expect: Annotated[
        str, typer.Option(help="A head from the coordinator's journal: is it here? Verifies too.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Show every message that this site was sent, and what left it in answer.

    The audit is a file that only grows, its lines chained by hashes. A changed or missing line ends
    the command with exit code 25 and the number of the line. Lines cut from the end show by a head
    that the coordinator kept: `audit_head` and `ledger_head` of this site in a run's journal.

    Example: `echofm client audit north --verify --expect 5d41402abc4b2a76`.
    """
    if expect and not re.fullmatch(r"[0-9a-f]{12,64}", expect):
        raise typer.BadParameter("give the head's first 12 or more of its 64 digits 0-9 and a-f")
    site = load_site(folder)

    from client.audit_report import lines, open_chains

    chains = open_chains(Path(site.state))
    heads = chains.heads()
    found = chains.find(expect) if expect else ""
    if as_json:
        shown = [heads | ({"expected": found} if found else {})]
        listed = shown if verify or expect else chains.audit.records
        for record in listed:
            typer.echo(json.dumps(record, sort_keys=True))
    elif verify or expect:
        for name, of in heads.items():
            size = many(of["lines"], "line")
            typer.echo(f"ok: {name}: {size}, whole; head {of['head'] or 'none yet'}")
        if found:
            typer.echo(f"ok: {found}")
    else:
        for line in lines(chains.audit.records):
            typer.echo(line)


def _check(folder: Path, port: int, *, quick: bool = True) -> None:
    """Print each line of the preflight; a FAIL ends the command after all checks."""
    failed = 0

    def begin(subject: str) -> None:
        typer.echo(f"{subject} takes some seconds, a minute with a large model ...", err=True)

    for line in preflight(folder, port, quick=quick, begin=begin):
        typer.echo(str(line))
        failed = failed or line.exit_code
    if failed:
        raise typer.Exit(failed)
