"""``echofm.toml``: how an institution's own files and table become a manifest."""

import re
import tomllib
import warnings
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from echofm_core.data.manifest import Split
from echofm_core.data.patients import PUBLISHED
from echofm_core.plan.section import Section
from echofm_core.runtime.errors import DataRootError
from echofm_core.tasks import VIEWS

NAME = "echofm.toml"
#: Bytes of it: more are no mapping.
LONGEST = 2**20
#: Manifest columns that a table may fill; the others are read from the files.
_IDS = ("path", "patient_id", "study_id")
_SETTINGS = ("fps", "depth_cm", "frequency_mhz", "gain_db")
_LABELS = ("ef", "edv", "esv", "as_grade", "as_class")
MAPPED = (*_IDS, "view", "split", *_SETTINGS, "quality", "care_setting", "sex", "age", *_LABELS)
#: Key of the mapping -> words that it may explain, and what messages say of others.
_LEGAL: dict[str, tuple[Collection[str], str, str]] = {
    "columns": (MAPPED, "cannot be mapped", str(list(MAPPED))),
    "views": (VIEWS, "are no views", str(list(VIEWS))),
    "splits": ([*Split], "are no splits", "train, val, test"),
}


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


#: What messages quote is short; what they quote as it is can be printed.
Word = Annotated[str, Field(max_length=200)]
Name = Annotated[Word, AfterValidator(_printable)]


class Fractions(StrEnum):
    """What the numbers of a column of EF are."""

    PERCENT = "percent"
    FRACTION = "fraction"


class Units(Section):
    """The ``[units]`` table of a mapping file."""

    ef: Fractions | None = None
    """`percent` or `fraction` (0.555 is 55.5 %); unsaid, a column from 0 to 1 is not used."""


class Mapping(Section):
    """The mapping file beside an institution's own data."""

    dataset: str = Field(pattern=r"^[a-z][a-z0-9_]{1,31}$")
    """Name of the data in manifests and, in the protocol `institution`, of the site."""
    secret: Name
    """File with the secret that ids are hashed with; made by `echofm data secret`."""
    table: Name = ""
    """CSV with one row a file, below this folder; empty: every AVI, MP4 and DICOM below it."""
    patient: Name = ""
    """Without a table: regular expression on the relative path whose group `patient` is the
    patient. Empty: DICOM says it, and videos are grouped by folder."""
    columns: dict[Word, Word] = Field(default_factory=dict)
    """Column of the manifest = column of the table; `path` and `patient_id` must be there."""
    views: dict[Word, list[Word]] = Field(default_factory=dict)
    """View of ours = the table's words for it."""
    splits: dict[Word, list[Word]] = Field(default_factory=dict)
    """`train`, `val` or `test` = the table's words for it."""
    units: Units = Units()
    """What the numbers of `ef` are, where it is not plain."""

    @field_validator("dataset")
    @classmethod
    def _is_its_own(cls, name: str) -> str:
        if name in PUBLISHED:  # whose small videos pass without an ultrasound sector
            raise ValueError(f"{name!r} is a public data set; give your own data another name")
        return name

    @field_validator("columns", "views", "splits")
    @classmethod
    def _known(cls, words: dict[str, object], info: ValidationInfo) -> dict[str, object]:
        legal, what, choice = _LEGAL[str(info.field_name)]
        if unknown := sorted(set(words) - set(legal)):
            raise ValueError(f"{unknown} {what}; choose among {choice}")
        return words

    @field_validator("patient")
    @classmethod
    def _names_a_patient(cls, pattern: str) -> str:
        try:
            with warnings.catch_warnings():
                # What may mean something else one day is a slip as a rule, and would group people.
                warnings.simplefilter("error")
                groups = re.compile(pattern).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a regular expression ({error})") from None
        except Warning as warning:
            raise ValueError(
                f"not a clear regular expression ({warning}: put a backslash before what stands "
                "for itself)"
            ) from None
        if pattern and "patient" not in groups:
            raise ValueError("has no group (?P<patient>...)")
        return pattern


def load_mapping(root: Path) -> Mapping:
    """Read the mapping file of a data root.

    Raises:
        DataRootError: Not TOML, or a key is unknown, missing or wrong.
    """
    file = root / NAME
    try:
        with file.open("rb") as stream:
            values = tomllib.loads(stream.read(LONGEST).decode("utf-8-sig"))
        mapping = Mapping.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataRootError(f"{file}: {where[:200]!r}: {first['msg']}.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataRootError(f"{file} is not TOML ({error}).") from None
    needed = {"path", "patient_id"} - set(mapping.columns)
    if mapping.table and needed:
        raise DataRootError(f"{file}: with a table, `columns` must map {sorted(needed)}.")
    return mapping
