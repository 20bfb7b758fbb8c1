"""Sub-commands of `echofm client` for what this site uses and keeps: withdraw, purge."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.launch import SiteFile, load_site
from echofm_core.runtime.errors import DataRootError, ManifestError
from echofm_core.runtime.text import many

if TYPE_CHECKING:
    from client.find_patients import Person

Folder = Annotated[Path, typer.Argument(help="The site's folder, from `echofm client init`.")]


def add(client: typer.Typer) -> None:
    """Add the commands."""
    client.command()(withdraw)
    client.command()(purge)


def withdraw(
    folder: Folder,
    patient: Annotated[
        str, typer.Argument(help="The patient's id; `-`: ask, so that no shell history has it.")
    ] = "",
    file: Annotated[Path | None, typer.Option(help="Ids in a file, one a line.")] = None,
    show: Annotated[bool, typer.Option("--list", help="How many withdrew, and when.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take the patient off the list.")] = False,
    absent: Annotated[
        bool, typer.Option("--absent", help="Enter ids too that the manifest does not have yet.")
    ] = False,
    secret: Annotated[
        str, typer.Option(help="File that hashed the manifest's ids; default: site.toml's secret.")
    ] = "",
) -> None:
    """Leave a patient out of everything that this site does, from the next message on.

    No training, validation, test or count has the patient's clips any more, in runs that go on too.
    The id is that of the manifest, or the hospital's own where `secret` is what `echofm data index`
    hashed it with. What models have learned of the patient stays in them; the runs are named.

    Example: `echofm client withdraw north 4711`, or `echofm client withdraw north --file ids.txt`.
    """
    site = load_site(folder)
    if show + bool(patient) + bool(file) != 1:
        raise typer.BadParameter("give one of PATIENT, --file and --list")
    if show and (undo or absent or secret):
        raise typer.BadParameter("--list changes nothing: leave out --undo, --absent and --secret")
    if show:
        _show(folder, site)
        return
    ids = _ids(patient, file)

    from client.audit import write_act
    from client.find_patients import find_patients
    from client.withdrawn import take_back, withdraw_patients
    from echofm_core.data.manifest import load_manifest
    from echofm_core.data.patients import read_secret

    hashed = secret or site.secret
    key = read_secret(Path(hashed)) if hashed else None
    people = find_patients(ids, load_manifest(Path(site.manifest)), key)
    state = Path(site.state)
    if undo:
        count = take_back(folder, [person.keys for person in people])
        write_act(state, "withdraw", f"{many(count, 'patient')} taken off the list again")
        typer.echo(f"taken off the list: {many(count, 'patient')} of {len(ids)}")
        return
    named = [person for person in people if absent or len(person.clips)]
    new = withdraw_patients(folder, [person.keys for person in named], site.secret)
    if new:
        write_act(state, "withdraw", f"{many(new, 'patient')} withdrawn")
    clips = sum(len(person.clips) for person in named)
    typer.echo(
        f"withdrawn: {many(len(named), 'patient')} with {many(clips, 'clip')}, of whom "
        f"{len(named) - new} had been; no message from the next on uses them"
    )
    _say_trained(state, people)
    if unknown := [number for number, one in enumerate(people, start=1) if one not in named]:
        raise ManifestError(
            f"no patient of {site.manifest} has the id in {_places(unknown, file)}, so nothing was "
            "entered for it; name the file that hashed the ids with --secret, or enter it all the "
            "same with --absent."
        )


def purge(
    folder: Folder,
    run: Annotated[str, typer.Argument(help="Name of the run.")] = "",
    show: Annotated[bool, typer.Option("--list", help="Runs with their size and age.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Delete the record of whom it trained on too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without being asked.")] = False,
) -> None:
    """Delete what this site keeps of a run that is over: weights, predictions, the kept reply.

    Privacy ledger, audit and approvals are of all runs and stay; so do the count of the run's tests
    and, without --record, the record of whom it trained on. Not while a round of it is in progress.
    A run that goes on afterwards begins with the data of then.

    Example: `echofm client purge north first-1a2b3c4d`.
    """
    site = load_site(folder)
    if show == bool(run):
        raise typer.BadParameter("give one of RUN and --list")
    if show and (record or yes):
        raise typer.BadParameter("--list deletes nothing: leave out --record and --yes")

    from client.kept_runs import kept_runs, megabytes, purge_run

    known = {kept.name: kept for kept in kept_runs(Path(site.state))}
    if show:
        typer.echo("\n".join(kept.line() for kept in known.values()) or "no run is kept here")
        return
    if run in known and not yes:
        typer.confirm(f"delete {known[run].line()}?", abort=True)
    freed = purge_run(Path(site.state), run, record=record)
    typer.echo(f"deleted what was kept of {run}: {megabytes(freed)} are free")


def _show(folder: Path, site: SiteFile) -> None:
    """How many are on the list and since when, never who."""
    from client.withdrawn import read_withdrawn
    from echofm_core.data.manifest import load_manifest
    from echofm_core.data.patients import patient_keys

    known, manifest = read_withdrawn(folder), load_manifest(Path(site.manifest))
    for day, count in sorted(Counter(entry.when[:10] for entry in known.entries).items()):
        typer.echo(f"{day}: {many(count, 'patient')}")
    rows = manifest[known.rows(manifest)]
    typer.echo(
        f"withdrawn: {many(len(known.entries), 'patient')}; the manifest has "
        f"{many(patient_keys(rows).nunique(), 'of them', 'of them')}, with "
        f"{many(len(rows), 'clip')}, all left out"
    )


def _say_trained(state: Path, people: Sequence["Person"]) -> None:
    """In which runs somebody is part of models already."""
    from client.find_patients import trained_in

    runs = list(trained_in(state, people))
    for run, count in runs:
        who = "not known, its key is gone" if count is None else f"{count} of {len(people)}"
        typer.echo(f"part of models already, by the training record of {run}: {who}")
    typer.echo(
        "what those models have learned stays in them; nothing is unlearned"
        if runs
        else "no training record in the state folder names any of them"
    )


def _ids(patient: str, file: Path | None) -> list[str]:
    """The ids that were given, without blank lines.

    Raises:
        DataRootError: The file cannot be read, or holds none.
    """
    if file is None:
        return [typer.prompt("id", hide_input=True) if patient == "-" else patient]
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # editors write a mark before it
    except (OSError, UnicodeDecodeError) as error:
        raise DataRootError(f"{file} cannot be read ({type(error).__name__}).") from None
    if not (found := [line.strip() for line in lines if line.strip()]):
        raise DataRootError(f"{file} holds no id; write one a line.")
    return found


def _places(numbers: Sequence[int], file: Path | None) -> str:
    """Which ids are meant, without them."""
    if file is None:
        return "PATIENT"
    places = ", ".join(map(str, numbers[:10])) + (" and more" if len(numbers) > 10 else "")
    return f"{file}, entry {places}"
