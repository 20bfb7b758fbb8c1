"""Patients who have withdrawn: left out of all that the site does, from the next message on.

Symptom: a patient takes consent back while a run goes on, and the next round trains on him again.
Reason: the manifest is made from an archive that still holds his clips, and is made anew. Protocol:
the site's folder keeps a list beside ``site.toml``, read anew for each message; whoever is on it is
in no training, validation or test, in no count and in no record of a training. Names are kept as
keyed hashes: without the key and a patient's id the list tells nobody who is on it. What can still
go wrong: models that have learned of him keep it; a round that has begun goes on to its end.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from echofm_core.data.patients import patient_keys, pseudonym, read_secret, write_secret
from echofm_core.runtime.errors import PolicyError
from echofm_core.runtime.file_lock import file_lock
from echofm_core.runtime.files import write_whole

#: Name of the list in the site's folder, and of its own key where ``site.toml`` names no secret.
FILE, KEY = "withdrawn.json", "withdrawn.key"


@dataclass(frozen=True, kw_only=True, slots=True)
class Withdrawal:
    """One patient on the list.

    Attributes:
        names: HMAC-SHA256 of each of his patient keys, cut to 64 bits; one a data set.
        key: File of the key: its name where it lies beside the list, else its whole path.
        when: Time of the withdrawal, in UTC.
    """

    names: tuple[str, ...]
    key: str
    when: str


_LIST = TypeAdapter(tuple[Withdrawal, ...])


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The list of a site's folder."""

    folder: Path
    entries: tuple[Withdrawal, ...] = ()

    def rows(self, manifest: pd.DataFrame) -> pd.Series:
        """Whether each row (n,) is of a patient on the list.

        Raises:
            DataRootError: A key of the list cannot be read; then nobody knows who is on it.
        """
        keys = patient_keys(manifest)
        out = set[str]()
        for key in {entry.key for entry in self.entries}:
            names = {name for entry in self.entries if entry.key == key for name in entry.names}
            secret = read_secret(self.folder / key)
            out |= {str(person) for person in keys.unique() if _name(secret, person) in names}
        return keys.isin(out)

    def without(self, manifest: pd.DataFrame) -> pd.DataFrame:
        """The rows of everybody else.

        Raises:
            DataRootError: As of :meth:`rows`.
        """
        return manifest[~self.rows(manifest)] if self.entries else manifest


def read_withdrawn(folder: Path) -> Withdrawn:
    """The list of a site's folder; empty where there is none.

    Raises:
        PolicyError: It is damaged: who is on it is unknown, so nothing may be used.
    """
    try:
        return Withdrawn(folder, _LIST.validate_json((folder / FILE).read_bytes()))
    except FileNotFoundError:
        return Withdrawn(folder)
    except (OSError, ValidationError) as error:
        raise PolicyError(
            f"the site's {FILE} cannot be read ({type(error).__name__}), so nobody knows who has "
            "withdrawn and nothing is done; restore it at the site from a backup."
        ) from None


def withdraw_patients(folder: Path, people: Iterable[Sequence[str]], secret: str = "") -> int:
    """Put patients on the list, durably; who is on it already stays as he is.

    Args:
        folder: Of the site.
        people: Patient keys (:func:`echofm_core.data.patients.patient_keys`) of each patient.
        secret: File that `echofm data secret` wrote; "": a key is made beside the list.

    Returns:
        How many were not on it.

    Raises:
        PolicyError: The list is damaged.
        DataRootError: A key cannot be read.
    """
    with _changing(folder) as before:
        key = secret or KEY
        if not secret and not (folder / KEY).exists():
            write_secret(folder / KEY)
        hidden, now = read_secret(folder / key), datetime.now(UTC).isoformat(timespec="seconds")
        new = [
            Withdrawal(names=tuple(_name(hidden, name) for name in names), key=key, when=now)
            for names in people
            if not _on(before, names)
        ]
        _write(folder, (*before.entries, *new))
        return len(new)


def take_back(folder: Path, people: Iterable[Sequence[str]]) -> int:
    """Take patients off the list again; arguments and errors as of :func:`withdraw_patients`.

    Returns:
        How many were on it.
    """
    with _changing(folder) as before:
        gone = [entry for names in people for entry in _on(before, names)]
        _write(folder, tuple(entry for entry in before.entries if entry not in gone))
        return len(set(gone))


def _on(known: Withdrawn, names: Sequence[str]) -> list[Withdrawal]:
    """Entries that name one of a patient's keys."""
    found = []
    for entry in known.entries:
        secret = read_secret(known.folder / entry.key)
        if {_name(secret, name) for name in names} & set(entry.names):
            found.append(entry)
    return found


def _name(secret: bytes, person: str) -> str:
    return pseudonym(secret, "withdrawn", person)


@contextmanager
def _changing(folder: Path) -> Iterator[Withdrawn]:
    """The list, for its only writer."""
    with file_lock(folder / f".{FILE}.lock", wait=True):
        yield read_withdrawn(folder)


def _write(folder: Path, entries: tuple[Withdrawal, ...]) -> None:
    text = json.dumps([asdict(entry) for entry in entries], indent=1) + "\n"
    write_whole(folder / FILE, text.encode(), private=True)
