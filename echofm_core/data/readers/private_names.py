"""Names in a published layout that its publisher did not give: they may tell who was examined.

A hospital that puts its own files into a public layout keeps their names, and a name may hold a
person's and a birth date. Whatever is not of the publisher's form is hashed with the institution's
secret: ids, and what findings call a file.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings
from echofm_core.data.patients import PUBLISHED, new_secret, pseudonym, read_secret
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.text import many

#: The secret's file at a layout's top, unless another is given.
SECRET = "echofm.secret"
IDS = ("patient_id", "study_id", "clip_id")
#: Folders and tables of all layouts.
_WORDS = re.compile(
    r"-|A4C|A2C|PSAX|Videos|Batch\d+|dicom|files|p\d{1,8}|s\d{1,8}|ES\d+_\dCH_\d|Site_[GR]_\d+|"
    r"database_nifti|database_split|training|testing|labeled|unlabeled|unlabeled_set|"
    r"view_(and_diagnosis_)?labeled_set|label_all_frame|DEV\d+|TMED2_fold\d_(un)?labeledpart|"
    r"subgroup_(training|validation|testing)|Info_[24]CH|FileList|VolumeTracings|MeasurementsList|"
    r"\.DS_Store|Thumbs\.db|labels_per_image|echo-(record|study)-list|structured-measurements?|table"
)
#: Of files, then maybe the number of a row.
_ENDING = re.compile(
    r"(\.(avi|mp4|dcm|png|nii|gz|mhd|raw|csv|txt|cfg|xlsx))*(:\d+)?\Z", re.IGNORECASE
)


def secret_at(place: Path) -> bytes | None:
    """The secret at a layout's top, None without.

    Raises:
        DataRootError: It is there and cannot be read.
    """
    return read_secret(place / SECRET) if (place / SECRET).is_file() else None


def is_published(dataset: str, item: str) -> bool:
    """Is every part of a path, or an id, one that the publisher or the layout gave?"""
    parts = (_ENDING.sub("", part) for part in re.split(r"/|, ", item))
    form = PUBLISHED[dataset]
    return all(not part or form.fullmatch(part) or _WORDS.fullmatch(part) for part in parts)


def without_names(
    dataset: str, place: Path, manifest: pd.DataFrame, findings: Findings, secret: bytes | None
) -> pd.DataFrame:
    """A published reader's manifest without names that are not the publisher's.

    In ``findings`` they are replaced.

    Raises:
        DataRootError: Ids are to be hashed, and there is no secret.
    """
    form = PUBLISHED[dataset]
    foreign = {
        name: {value for value in set(manifest[name].dropna()) if not form.fullmatch(value)}
        for name in IDS
    }
    if any(foreign.values()) and secret is None:
        count = len(foreign["clip_id"] or foreign["patient_id"])
        raise DataRootError(
            f"{many(count, f'clip under {place} has a name', f'clips under {place} have names')} "
            f"that {dataset}'s publisher did not give, and that may tell who was examined; make a "
            f"secret with `echofm data secret {place / SECRET}`, and run the same command again."
        )
    key = secret or new_secret()  # of findings alone: good for this one call
    for name, values in foreign.items():
        if values:
            hashed = _hashed(key, dataset, name.removesuffix("_id"), values)
            manifest = manifest.assign(**{name: manifest[name].replace(hashed)})
    for index, item in enumerate(findings.items):
        if not is_published(dataset, item.item):
            called = _hashed(key, dataset, "clip", [item.item])[item.item]
            findings.places[called] = str(place / item.item)
            findings.items[index] = replace(item, item=called)
    return manifest


def _hashed(secret: bytes, dataset: str, kind: str, values: Iterable[str]) -> dict[str, str]:
    before = f"{dataset}-" if kind == "clip" else ""
    return {
        value: before + pseudonym(secret, f"{dataset}/{kind}", value) for value in sorted(values)
    }
