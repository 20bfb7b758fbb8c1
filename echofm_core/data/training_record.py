"""Whom a model was trained on: keyed hashes of patients, kept where the training was.

The record tells whoever has its key *and* a patient's id whether that patient was in training, and
nobody anything else. It lies in the run folder of the training, or in a site's state folder, never
beside weights that travel: a model that was handed on has none, and then nothing is known.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys, pseudonym, read_secret, write_secret
from echofm_core.runtime.files import write_whole

RECORD = "trained_on.json"
#: A throw-away key, where the plan or the site names no secret.
KEY = "trained_on.key"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Patients hashed with one key.

    Attributes:
        key: File of the key: its name where it lies beside the record, else its whole path.
        patients: HMAC-SHA256 of each, cut to 64 bits.
    """

    key: str
    patients: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Whom one model was trained on, by the plan whose hash is in the model's own header too."""

    plan_hash: str
    parts: tuple[Part, ...]
    """Its patients; those of the weights that it began with have a key of their own."""
    start_unknown: bool = False
    """It began with weights of which no record says whom they were trained on."""


_RECORD = TypeAdapter(Record)


def record_training(
    folder: Path,
    manifest: pd.DataFrame,
    plan_hash: str,
    *,
    secret: str = "",
    start: Path | None = None,
    pinned: bool = False,
) -> None:
    """Write the record of a training that begins; written again, it stays as it is.

    Where the data have changed since the same training began, those of before count too.

    Args:
        folder: Of the training; it stays where the data are.
        manifest: Its clips; patients for training and for validation count.
        plan_hash: See :class:`Record`.
        secret: File that `echofm data secret` wrote; without one, a key is made in ``folder``.
        start: Weights that it begins with, a file or a folder; their record is taken over.
        pinned: It begins with weights that the plan names by their digest, wherever they are.

    Raises:
        DataRootError: The secret cannot be read.
    """
    key = secret or KEY
    if not secret and not (folder / KEY).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_secret(folder / KEY)
    used = manifest[manifest["split"].isin([Split.TRAIN.value, Split.VALIDATION.value])]
    hashes = set(_hashes(used, read_secret(folder / key)).values())
    if (found := _open(folder)) is not None and found[1].plan_hash == plan_hash:
        hashes.update(*(part.patients for part in found[1].parts if part.key == key))
    before = None if start is None else _beside(start)
    inherited = () if before is None else tuple(_taken_over(folder, *before))
    lost = before is not None and len(inherited) < len(before[1].parts)
    record = Record(
        plan_hash=plan_hash,
        parts=(Part(key=key, patients=tuple(sorted(hashes))), *inherited),
        start_unknown=lost or (before[1].start_unknown if before else bool(start) or pinned),
    )
    content = json.dumps(asdict(record), indent=1).encode()
    if not (folder / RECORD).exists() or (folder / RECORD).read_bytes() != content:
        write_whole(folder / RECORD, content)


def find_record(
    model: Path, plan_hash: str, kept: Path | None = None
) -> tuple[Path, Record] | None:
    """The record of a model and the folder it lies in; None where nothing is known.

    Args:
        model: Its weights file, the folder of that, or the run folder.
        plan_hash: From the model's header: a record of another training is none of this model.
        kept: Folder to look in too: a run folder, or a site's state folder, which has one a run.
    """
    places = [] if kept is None else [kept, *sorted(kept.glob("*/"))]
    for found in (_beside(model), *map(_open, places)):
        if found is not None and found[1].plan_hash == plan_hash:
            return found
    return None


def records_below(state: Path) -> Iterator[tuple[Path, Record]]:
    """Every record in a site's state folder, with the folder of its run."""
    yield from (found for folder in sorted(state.glob("*/")) if (found := _open(folder)))


def files_of_record(folder: Path) -> set[str]:
    """Names of the record in a folder, and of the keys beside it; empty where there is none."""
    found = _open(folder)
    keys = (part.key for part in found[1].parts) if found else ()
    return {RECORD, *(key for key in keys if not Path(key).is_absolute())} if found else set()


def count_trained_on(manifest: pd.DataFrame, folder: Path, record: Record) -> int:
    """How many patients of a manifest a record names.

    Raises:
        DataRootError: A key of the record cannot be read.
    """
    found: set[str] = set()
    for part in record.parts:
        hashes, named = _hashes(manifest, read_secret(folder / part.key)), set(part.patients)
        found |= {person for person, name in hashes.items() if name in named}
    return len(found)


def _hashes(manifest: pd.DataFrame, secret: bytes) -> Mapping[str, str]:
    """Person -> hash."""
    return {
        str(person): pseudonym(secret, "trained_on", str(person))
        for person in patient_keys(manifest).unique()
    }


def _beside(model: Path) -> tuple[Path, Record] | None:
    """The record of the run folder that a model lies in."""
    for folder in (model, model.parent, model.parent.parent):
        if (found := _open(folder)) is not None:
            return found
    return None


def _open(folder: Path) -> tuple[Path, Record] | None:
    try:
        return folder, _RECORD.validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def _taken_over(folder: Path, theirs: Path, record: Record) -> Iterator[Part]:
    """Parts of the record of other weights, with their keys: that folder may go.

    A part whose own key is lost says nothing any more, and is left out.
    """
    for number, part in enumerate(record.parts):
        key = part.key
        if not Path(key).is_absolute():
            key = f"start-{number}.{KEY}"
            try:
                content = (theirs / part.key).read_bytes()
            except OSError:
                continue
            # A start that came to nothing may have left the key of other weights.
            write_whole(folder / key, content, private=True)
        yield Part(key=key, patients=part.patients)
