"""The manifest: one row a clip, the table through which all code sees any data set."""

import os
import re
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from pathlib import Path

import pandas as pd

from echofm_core.data.patients import patient_keys
from echofm_core.runtime.errors import ManifestError, refusing
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many
from echofm_core.tasks import AS_CLASS_OF_GRADE, TASKS, VIEWS, Task


class Split(StrEnum):
    """Which part of a site a patient belongs to."""

    TRAIN = "train"
    VALIDATION = "val"
    TEST = "test"


#: Column -> pandas dtype. All are nullable: missing is null, never a sentinel.
COLUMNS: dict[str, str] = {
    "dataset": "string",
    "site": "string",
    "patient_id": "string",
    "study_id": "string",
    "clip_id": "string",  # unique in a manifest; safe as a file name
    "path": "string",  # absolute; several stills of one study are joined by os.pathsep
    "view": "string",  # one of tasks.VIEWS
    "split": "string",  # the official split where the source has one, else null
    "n_frames": "Int32",  # frames really there
    "fps": "Float32",  # Hz; unknown is null, not 30
    "height": "Int32",  # pixels of the source
    "width": "Int32",
    "vendor": "string",
    "model": "string",
    "quality": "string",
    "depth_cm": "Float32",  # from the transducer to the bottom of the picture
    "frequency_mhz": "Float32",  # of the transducer
    "gain_db": "Float32",  # as the scanner counts it
    "care_setting": "string",  # where the patient was: as a hospital's own table says
    "sex": "string",  # "F" or "M"
    "age": "Float32",  # years
    "ef": "Float32",  # percent, 0 to 100
    "edv": "Float32",  # ml
    "esv": "Float32",  # ml
    "as_grade": "Int32",  # index into tasks.AS_GRADES
    "as_class": "Int32",  # index into tasks.AS_CLASSES: of the grade, or where that is unknown
    "source_row": "Int64",  # row of the source's own table, from 0
}

#: Columns that manifests of earlier versions lack, see :func:`completed`.
LATER = ("depth_cm", "frequency_mhz", "gain_db", "care_setting", "as_class")
REQUIRED = ("dataset", "patient_id", "clip_id", "path")

#: Grade of aortic stenosis -> its class.
_CLASSES = dict(enumerate(AS_CLASS_OF_GRADE))

#: A dictionary takes ten times the memory of a row; so many are there at the same time.
ROWS_AT_ONCE = 20_000


def files_of(path: str) -> list[Path]:
    """Files of a manifest's ``path``, in order.

    Stills alone are several, and each begins as an absolute path does: a name may hold the
    separator itself, as a time of day does.
    """
    if not path.lower().endswith(".png"):
        return [Path(path)]
    return [Path(part) for part in re.split(f"{re.escape(os.pathsep)}(?=/|[A-Za-z]:)", path)]


def manifest_from_rows(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    """Typed manifest from dictionaries; keys that a row lacks are null, but for a grade's class.

    Raises:
        ManifestError: A key is not a manifest column, or the result breaks the contract.
    """
    rows, parts = iter(rows), list[pd.DataFrame]()
    while part := list(islice(rows, ROWS_AT_ONCE)):
        frame = pd.DataFrame(part)
        if unknown := sorted(set(frame.columns) - set(COLUMNS)):
            raise ManifestError(f"manifest rows hold unknown columns {unknown}.")
        parts.append(_with_classes(frame.reindex(columns=list(COLUMNS)).astype(COLUMNS)))
    nothing = pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)
    return validate(pd.concat(parts, ignore_index=True) if parts else nothing)


def completed(manifest: pd.DataFrame) -> pd.DataFrame:
    """A manifest with the columns that an earlier version did not write.

    They are null, but for the class of aortic stenosis, which follows from the grade.
    """
    absent = [name for name in LATER if name not in manifest.columns]
    whole = manifest.reindex(columns=[*manifest.columns, *absent])
    return _with_classes(whole) if "as_class" in absent and "as_grade" in whole else whole


def without_plain_classes(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest without classes of aortic stenosis, where these say no more than the grades.

    What is digested of labels stays then what it was before there was the column.
    """
    more = manifest["as_class"].notna() & manifest["as_grade"].isna()
    return manifest if more.any() else manifest.drop(columns="as_class")


def validate(manifest: pd.DataFrame, source: str = "manifest") -> pd.DataFrame:
    """Check the contract and return the manifest, columns ordered and typed.

    Raises:
        ManifestError: A column is missing or unknown, a required value is null, a clip id is
            twice there, a label is outside its legal range or against another, a view or split is
            not a known one, or a patient is in two splits.
    """
    missing = [name for name in COLUMNS if name not in manifest.columns]
    unknown = [name for name in manifest.columns if name not in COLUMNS]
    if missing or unknown:
        raise ManifestError(
            f"{source} has columns missing {missing} and unknown {unknown}; "
            "write it again with `echofm data index`."
        )
    try:
        manifest = manifest[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
    except (TypeError, ValueError) as error:
        raise ManifestError(f"{source} has a column of the wrong type ({error}).") from None
    for name in REQUIRED:
        if count := int(manifest[name].isna().sum()):
            raise ManifestError(f"{source} has {many(count, 'row')} without `{name}`.")
    if count := int(manifest["clip_id"].duplicated().sum()):
        twice = many(count, "clip id that is", "clip ids that are")
        raise ManifestError(f"{source} has {twice} there twice.")
    _check_labels(manifest, source)
    _check_words(manifest, source)
    check_patients_disjoint(manifest, source)
    return manifest


def check_patients_disjoint(manifest: pd.DataFrame, source: str = "manifest") -> None:
    """Refuse a patient who is in two splits, or at two sites.

    Raises:
        ManifestError: With the count; never with an id.
    """
    for column in ("split", "site"):
        rows = manifest.dropna(subset=[column])
        homes = rows[column].groupby(patient_keys(rows)).nunique()
        if count := int((homes > 1).sum()):
            raise ManifestError(
                f"{source}: {many(count, 'patient is', 'patients are')} in more than one {column}; "
                "every patient belongs to exactly one."
            )


def _with_classes(manifest: pd.DataFrame) -> pd.DataFrame:
    """Fill in the class of each grade where it is null."""
    own = manifest["as_class"].astype("Int32")
    return manifest.assign(as_class=own.fillna(_classes_of_grades(manifest)))


def _classes_of_grades(manifest: pd.DataFrame) -> pd.Series:
    return manifest["as_grade"].map(_CLASSES, na_action="ignore").astype("Int32")


def _check_labels(manifest: pd.DataFrame, source: str) -> None:
    for task in (Task.EF, Task.ESV, Task.EDV, Task.AS_GRADE, Task.AS_CLASS):
        spec = TASKS[task]
        values = manifest[spec.column].dropna()
        if outside := int((~values.between(spec.low, spec.high)).sum()):
            column = f"of `{spec.column}`"
            what = many(outside, f"value {column} is", f"values {column} are")
            raise ManifestError(
                f"{source}: {what} outside [{spec.low:g}, {spec.high:g}] {spec.unit}".rstrip()
                + "; mend the labels."
            )
    if against := int((_classes_of_grades(manifest) != manifest["as_class"]).sum()):
        what = many(against, "value of `as_class` is", "values of `as_class` are")
        raise ManifestError(f"{source}: {what} not the class of `as_grade`; mend the labels.")


def _check_words(manifest: pd.DataFrame, source: str) -> None:
    for column, legal in (("view", list(VIEWS)), ("split", [split.value for split in Split])):
        values = manifest[column].dropna()
        if strange := sorted(set(values[~values.isin(legal)])):
            raise ManifestError(
                f"{source}: `{column}` holds {strange[:5]}, expected one of {legal}."
            )


def save_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write Parquet; the file appears whole or not at all."""
    write_whole(path, manifest.to_parquet(index=False))


def load_manifest(path: Path) -> pd.DataFrame:
    """Read and validate a manifest.

    Raises:
        ManifestError: Missing file, not Parquet, or a broken contract.
    """
    if not path.exists():
        raise ManifestError(f"manifest {path} does not exist; write it with `echofm data index`.")
    advice = "; give the Parquet file that `echofm data index` wrote"
    with refusing(f"manifest {path} cannot be read", ManifestError, advice):
        frame = pd.read_parquet(path)
    return validate(completed(frame), str(path))
