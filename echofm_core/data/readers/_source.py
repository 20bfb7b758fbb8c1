"""A data set while it is read: paths that may lie, numbers that may be off, rows that disagree."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.formats.nifti import SequenceHeader
from echofm_core.data.limits import believable_rate
from echofm_core.data.manifest import Split
from echofm_core.data.readers._results import Form, Result, read_result
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.tasks import TASKS, Task, TaskKind

#: Numbers from here on, and their inverses, do not fit a column of 32 bits.
LARGEST = 1e30
#: Kind of the finding on an EF of which nothing says that it is in percent.
LIKE_A_FRACTION = "looks_like_fraction"
#: Unit -> how it is written behind a number, in lower case.
SPELT = {
    "%": ("%",),
    "ml": ("ml", "cc", "cm3", "cm^3"),
    "Hz": ("hz", "fps"),
    "cm": ("cm",),
    "MHz": ("mhz",),
    "dB": ("db",),
    "years": ("y", "yr", "yrs", "year", "years"),
}
#: What is written where nothing is known, in lower case.
MISSING = ("", "na", "n/a", "none")
#: Words for sex in tables. Whole words: a first letter would make a man of "mujer" and "missing".
SEXES = {
    "F": ("f", "female", "woman", "w", "weiblich", "frau", "femme", "féminin", "mujer",
          "femenino", "mulher", "feminino", "donna", "femmina", "femminile", "vrouw"),
    "M": ("m", "male", "man", "männlich", "mann", "homme", "masculin", "hombre", "masculino",
          "homem", "uomo", "maschio", "maschile"),
}  # fmt: skip
#: Names of splits in public tables, in lower case, by how much is held out.
SPLITS = {split.value: split for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")

#: A row of the manifest that is made; what it lacks is null.
Row = dict[str, object]


class Refusal(NamedTuple):
    """Why a file cannot be used: kind and reason of the finding."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """One data set's folder, and what is wrong with it.

    In all methods, ``item`` is how a finding names a file or a row.

    Attributes:
        root: Data root that no path may leave.
    """

    dataset: str
    root: Path
    findings: Findings = field(default_factory=Findings)

    def quarantined(self, kind: str, item: str | Path, reason: str) -> None:
        """Note what is not used."""
        self.findings.add(self.dataset, kind, item, reason)

    def repaired(self, kind: str, item: str | Path, reason: str) -> None:
        """Note what is used after a correction."""
        self.findings.add(self.dataset, kind, item, reason, Severity.REPAIRED)

    def noted(self, kind: str, item: str | Path, reason: str) -> None:
        """Note what is used as it is, and a person should look at."""
        self.findings.add(self.dataset, kind, item, reason, Severity.NOTED)

    def row(self, patient: str, clip: str, **columns: object) -> Row:
        """A clip; a patient is one study where ``study_id`` is not given."""
        ids = {"patient_id": patient, "study_id": patient, "clip_id": clip}
        return {"dataset": self.dataset, **ids, **columns}

    def usable_file(self, relative: str) -> Path | None:
        """The file at ``relative`` where it is there and holds something; else noted and None."""
        found = file_at(self.root, relative)
        if isinstance(found, Path):
            return found
        self.quarantined(found.kind, relative, found.reason)
        return None

    def sequence(self, relative: str, read: Callable[[Path], SequenceHeader]) -> Row | None:
        """Path, length, size and depth of a file whose header can be ``read``."""
        path = self.usable_file(relative)
        if path is None:
            return None
        try:
            header = read(path)
        except UnreadableFileError as error:
            self.quarantined("undecodable", relative, str(error))
            return None
        n_frames, height, width = header.shape
        columns: Row = {"path": str(path), "n_frames": n_frames, "height": height, "width": width}
        return columns | {"depth_cm": header.pixel.down * height} if header.pixel else columns

    def label(
        self, text: str | None, task: Task, item: str, *, in_unit: bool = False
    ) -> float | None:
        """A label in its legal range; anything else that is written there is dropped and noted.

        Of a class, that is anything but its number: `none` may be the name of one.
        The text is a number, with a decimal point or comma, with its unit or without. Where the
        numbers are not known to be ``in_unit``, an EF from 0 to 1 without a percent sign may be a
        fraction, and is not used.
        """
        spec, written = TASKS[task], (text or "").strip()
        classes = spec.kind is TaskKind.MULTICLASS
        if written.lower() in MISSING and not (classes and written.lower() == "none"):
            return None
        plain = number(written)  # read as Python would, else as in a report
        result = read_result(written) if plain is None else Result(Form.NUMBER, plain, plain)
        kind, value, wrong = "label_out_of_range", result.low, trouble(result, spec.unit)
        if wrong:
            pass
        elif value is None or not spec.low <= value <= spec.high:
            wrong = f"is not in [{spec.low:g}, {spec.high:g}] {spec.unit}".rstrip()
        elif classes and value != int(value):
            wrong = "is no whole number"
        elif task is Task.EF and value <= 1 and not (in_unit or result.unit):
            kind = LIKE_A_FRACTION
            wrong = "is between 0 and 1: that looks like a fraction, not like %"
        else:
            return value
        self.repaired(kind, item, f"`{spec.column}` {wrong}; the clip is used without this label.")
        return None

    def labels(self, texts: Mapping[Task, str | None], item: str, *, in_unit: bool = False) -> Row:
        """Labels ``ef``, ``edv``, ``esv``, all dropped and noted where ESV exceeds EDV."""
        labels = {
            task: self.label(texts.get(task), task, item, in_unit=in_unit)
            for task in (Task.EF, Task.EDV, Task.ESV)
        }
        edv, esv = labels[Task.EDV], labels[Task.ESV]
        if edv is not None and esv is not None and esv > edv:
            reason = "ESV exceeds EDV; the clip is used without volumes and EF."
            self.repaired("label_out_of_range", item, reason)
            return {}
        return {task.value: value for task, value in labels.items()}

    def settle(
        self,
        first: dict[str, Any],
        again: Mapping[str, Any],
        item: str,
        columns: Iterable[str] = ("ef", "edv", "esv"),
        what: str = "file",
    ) -> None:
        """Of two rows about one file, keep the first, without the labels that they disagree about.

        Of the ``columns`` that count, those that differ are emptied in ``first``.
        """
        differ = [name for name in columns if first.get(name) != again.get(name)]
        if differ:
            first.update(dict.fromkeys(differ))
            self.repaired("rows_disagree", item, disagreement(differ))
        else:
            reason = f"The {what} is listed twice; the first row is used."
            self.quarantined("duplicate_row", item, reason)

    def one_split_a_patient(self, rows: Iterable[Row]) -> list[Row]:
        """Rows in which every patient has one split: of several, the one that is held out most.

        A row without a path only says a split, and is left out.
        """
        rows = list(rows)
        found: dict[object, set[str]] = defaultdict(set)
        for row in rows:
            if row.get("split") is not None:
                found[row["patient_id"]].add(str(row["split"]))
        taken = {patient: max(splits, key=[*SPLITS].index) for patient, splits in found.items()}
        for patient, splits in found.items():
            if len(splits) > 1:
                reason = f"The patient is in more than one split; taken as {taken[patient]}."
                self.repaired("patient_in_two_splits", str(patient), reason)
        return [{**row, "split": taken.get(row["patient_id"])} for row in rows if "path" in row]


def inside(root: Path, relative: str) -> Path | None:
    """``root / relative`` where that stays below the root, else None.

    A leading slash is dropped: a plain join would leave the root. Links are followed.
    """
    try:
        path = (root / relative.strip().lstrip("/\\")).resolve()
        return path if path.is_relative_to(root.resolve()) else None
    except (OSError, ValueError, RuntimeError):  # NUL byte, name too long, loop of links
        return None


def number(text: str | None) -> float | None:
    """A number that a column can hold, else None; blanks, NA and NaN are None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < LARGEST else None


def positive(text: str | None) -> float | None:
    """A number above zero that a column can hold, else None."""
    value = number(text)
    return value if value is not None and value > 1 / LARGEST else None


def frame_rate(text: str | None) -> float | None:
    """Frames a second that a scanner can have recorded, else None."""
    return believable_rate(number(text))


def count(text: str | None) -> int | None:
    """A whole number above zero that fits 31 bits, else None."""
    value = integer(text)
    return value if value is not None and value > 0 else None


def integer(text: str | None) -> int | None:
    """A whole number that fits 31 bits, else None."""
    value = number(text)
    return int(value) if value is not None and value == int(value) and abs(value) < 2**31 else None


def trouble(result: Result, unit: str) -> str:
    """Why a result is no number in a unit; empty: it is one."""
    if result.form is Form.OPEN:
        return "is a bound, such as >55, and no number"
    if result.form is not Form.NUMBER:
        return "is no number that can be read"
    if result.low != result.high:
        return "is a range and no number"
    if result.unit and result.unit not in SPELT.get(unit, ()):
        return f"is in another unit than {unit}"
    return ""


def file_at(root: Path, relative: str) -> Path | Refusal:
    """The file at ``root / relative`` where it is there and holds something."""
    path = inside(root, relative)
    if path is None:
        return Refusal("bad_path", "The path leaves the data root.")
    # No text that a table can hold: not Unicode, or not on one line.
    if any(char in "\r\n" or "\ud800" <= char <= "\udfff" for char in str(path)):
        return Refusal("bad_name", "The file's name is no text that a table can hold; rename it.")
    if not os.path.exists(path) and os.path.exists(  # noqa: PTH110
        capitals := path.with_name(path.stem + path.suffix.upper())
    ):
        path = capitals
    # Path.is_file raises where a name is too long.
    if not os.path.isfile(path):  # noqa: PTH113
        return Refusal("missing_file", "Listed, not there.")
    return path if path.stat().st_size else Refusal("empty_file", "The file is empty.")


def sex_of(text: str | None) -> str | None:
    """``F`` or ``M`` from ``f``, ``Male`` and the like (:data:`SEXES`), else None."""
    word = (text or "").strip().lower()
    return next((sex for sex, words in SEXES.items() if word in words), None)


def disagreement(columns: Sequence[str]) -> str:
    """Reason of a finding on rows about one file that differ in columns."""
    names = ", ".join(f"`{name}`" for name in columns)
    return f"Rows about one file disagree in {names}; the clip is used without."


def safe_name(text: str) -> str:
    """Text as a file name: letters, digits, ``.``, ``_`` and ``-``."""
    return _UNSAFE.sub("_", text).strip("._") or "_"
