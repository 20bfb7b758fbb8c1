"""Were the patients that shall be scored in the model's training? Said by count, or refused."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.data.patients import patient_keys
from echofm_core.data.training_record import Record, count_trained_on
from echofm_core.models.saved import SavedModel
from echofm_core.runtime.errors import SeenPatientsError
from echofm_core.training.objectives.targets import labelled_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """What is known of the patients that are scored.

    Attributes:
        patients: How many there are.
        seen: How many of them the model was trained on; None where it has no record.
        start_unknown: The weights that its training began with have no record.
    """

    patients: int
    seen: int | None
    start_unknown: bool = False

    def note(self) -> str:
        """One sentence for whoever reads the scores."""
        if self.seen is None:
            return (
                f"Whether the model was trained on some of {_these(self.patients)} "
                "is unknown: it has no record of its training here; --record names a folder with "
                "one."
            )
        count = str(self.seen) if self.seen else "none"
        said = f"The model was trained on {count} of {_these(self.patients)}"
        if self.start_unknown:
            said += "; of the weights that its training began with, that is unknown"
        return f"{said}."


def overlap_of(
    saved: SavedModel, rows: pd.DataFrame, record: tuple[Path, Record] | None, *, allowed: bool
) -> Overlap:
    """Count the patients that were in training, of rows with a label of a trained task.

    Args:
        saved: The model that is tested.
        rows: What it shall be tested on.
        record: See :func:`~echofm_core.data.training_record.find_record`.
        allowed: Score them all the same.

    Raises:
        SeenPatientsError: There are some, and it is not allowed.
        DataRootError: The record's key cannot be read.
    """
    rows = labelled_rows(rows, saved.tasks, saved.plan.finetune.reduced_ef_threshold)
    patients = int(patient_keys(rows).nunique())
    if record is None:
        return Overlap(patients=patients, seen=None)
    seen = count_trained_on(rows, *record)
    if seen and not allowed:
        raise SeenPatientsError(
            f"the model was trained on {seen} of {_these(patients)} to be scored, so that "
            "its scores would say what it remembers and not what it can do; score other patients, "
            "leave --everything out where there is a test split, or ask for it with --seen."
        )
    return Overlap(patients=patients, seen=seen, start_unknown=record[1].start_unknown)


def _these(patients: int) -> str:
    return "this one patient" if patients == 1 else f"these {patients} patients"
