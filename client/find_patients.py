"""Finding the patients that a hospital names: in its manifest, and in the runs they trained in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.data.patients import patient_keys, pseudonym
from echofm_core.data.training_record import count_trained_on, records_below
from echofm_core.runtime.errors import DataRootError


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One patient that was asked for.

    Attributes:
        forms: Columns ``dataset`` and ``patient_id``: every form that the id can have.
        clips: Rows of the manifest.
    """

    forms: pd.DataFrame
    clips: pd.DataFrame

    @property
    def keys(self) -> list[str]:
        """Patient keys: those that the manifest has; all forms where it has none."""
        rows = self.clips if len(self.clips) else self.forms
        return [str(key) for key in patient_keys(rows).unique()]


def find_patients(ids: Sequence[str], manifest: pd.DataFrame, secret: bytes | None) -> list[Person]:
    """Each id as the person it means.

    `echofm data index` hashes the ids of a hospital's own data, by data set; so an id may be that
    of the manifest or the hospital's own.

    Args:
        ids: Of the manifest, or of the hospital.
        manifest: Of the site.
        secret: What the hospital's ids were hashed with; None where that is not known.
    """
    datasets, keys, found = sorted(manifest["dataset"].unique()), patient_keys(manifest), []
    for number in ids:
        forms = pd.DataFrame(
            [(name, form) for name in datasets for form in _forms(number, name, secret)],
            columns=["dataset", "patient_id"],
            dtype="string",
        )
        found.append(Person(forms, manifest[keys.isin(patient_keys(forms))]))
    return found


def trained_in(state: Path, people: Sequence[Person]) -> Iterator[tuple[str, int | None]]:
    """Each run of a site whose models learned of somebody, and of how many; None: not known."""
    for folder, record in records_below(state):
        try:
            count = sum(bool(count_trained_on(person.forms, folder, record)) for person in people)
        except DataRootError:
            yield folder.name, None
            continue
        if count:
            yield folder.name, count


def _forms(number: str, dataset: str, secret: bytes | None) -> Iterator[str]:
    yield number.strip()
    if secret:
        yield pseudonym(secret, f"{dataset}/patient", number)
