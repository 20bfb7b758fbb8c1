"""What every reader needs: paths that may lie, numbers that may be off, labels that disagree."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from echofm_core.data.findings import Findings, Severity
from echofm_core.data.limits import believable_rate
from echofm_core.data.readers._results import Form, Result, read_result
from echofm_core.tasks import TASKS, Task

#: Numbers from here on, and their inverses, do not fit a column of 32 bits.
LARGEST = 1e30
#: Kind of the finding on an EF of which nothing says that it is in percent.
LIKE_A_FRACTION = "looks_like_fraction"
#: Unit -> how it is written behind a number.
SPELT = {"%": ("%",), "ml": ("ml", "cc", "cm3", "cm^3")}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


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


def label(
    text: str | None,
    task: Task,
    dataset: str,
    item: str,
    findings: Findings,
    *,
    in_unit: bool = False,
) -> float | None:
    """A label in its legal range; anything else that is written there is dropped and noted.

    Args:
        text: A number, with a decimal point or comma, with its unit or without.
        task: Whose label it is.
        dataset, item, findings: Where what is wrong goes.
        in_unit: The numbers are known to be in the task's unit; otherwise an EF from 0 to 1
            without a percent sign may be a fraction, and is not used.
    """
    spec = TASKS[task]
    written = (text or "").strip()
    if written.lower() in ("", "na", "n/a", "none"):
        return None
    result = _result(written)
    kind, value, wrong = "label_out_of_range", result.low, _trouble(result, spec.unit)
    if wrong:
        pass
    elif value is None or not spec.low <= value <= spec.high:
        wrong = f"is not in [{spec.low:g}, {spec.high:g}] {spec.unit}".rstrip()
    elif task is Task.EF and value <= 1 and not (in_unit or result.unit):
        kind, wrong = LIKE_A_FRACTION, "is between 0 and 1: that looks like a fraction, not like %"
    else:
        return value
    reason = f"`{spec.column}` {wrong}; the clip is used without this label."
    findings.add(dataset, kind, item, reason, Severity.REPAIRED)
    return None


def _result(written: str) -> Result:
    """What is written, read as a number where Python would, else as in a report."""
    plain = number(written)
    return read_result(written) if plain is None else Result(Form.NUMBER, plain, plain)


def _trouble(result: Result, unit: str) -> str:
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


def usable_file(
    root: Path, relative: str, dataset: str, findings: Findings, item: str | None = None
) -> Path | None:
    """The file at ``root / relative`` where it is there and holds something; else noted and None.

    Args:
        root: Data root that no path may leave.
        relative: As a table has it.
        dataset, findings: Where what is wrong goes.
        item: How a finding names it where that is not ``relative``.
    """
    found = file_at(root, relative)
    if isinstance(found, Path):
        return found
    findings.add(dataset, found.kind, item or relative, found.reason)
    return None


class Refusal(NamedTuple):
    """Why a file cannot be used: kind and reason of the finding."""

    kind: str
    reason: str


def file_at(root: Path, relative: str) -> Path | Refusal:
    """The file at ``root / relative`` where it is there and holds something."""
    path = inside(root, relative)
    if path is None:
        return Refusal("bad_path", "The path leaves the data root.")
    if not _is_text(str(path)):
        return Refusal("bad_name", "The file's name is no text that a table can hold; rename it.")
    if not os.path.exists(path) and os.path.exists(  # noqa: PTH110
        capitals := path.with_name(path.stem + path.suffix.upper())
    ):
        path = capitals
    # Path.is_file raises where a name is too long.
    if not os.path.isfile(path):  # noqa: PTH113
        return Refusal("missing_file", "Listed, not there.")
    return Refusal("empty_file", "The file is empty.") if is_empty(path) else path


def _is_text(name: str) -> bool:
    """Is a name Unicode, and on one line?"""
    return not any(char in "\r\n" or "\ud800" <= char <= "\udfff" for char in name)


def sex_of(text: str | None) -> str | None:
    """``F`` or ``M`` from ``f``, ``Male`` and the like, else None."""
    letter = (text or "").strip().upper()[:1]
    return letter if letter in ("F", "M") else None


def settle(
    first: dict[str, object],
    again: dict[str, object],
    dataset: str,
    item: str,
    findings: Findings,
) -> None:
    """Of two rows about one file, keep the first, without the labels that they disagree about.

    Args:
        first: The row that is kept; changed in place.
        again: The later one.
        dataset, item, findings: Where it is noted.
    """
    labels = [task.value for task in (Task.EF, Task.EDV, Task.ESV)]
    differ = [name for name in labels if first.get(name) != again.get(name)]
    if not differ:
        reason = "The file is listed twice; the first row is used."
        findings.add(dataset, "duplicate_row", item, reason)
        return
    first.update(dict.fromkeys(differ))
    findings.add(dataset, "rows_disagree", item, disagreement(differ), Severity.REPAIRED)


def disagreement(columns: Sequence[str]) -> str:
    """Reason of a finding on rows about one file that differ in columns."""
    names = ", ".join(f"`{name}`" for name in columns)
    return f"Rows about one file disagree in {names}; the clip is used without."


def volumes_in_order(
    labels: dict[str, float | None], dataset: str, item: str, findings: Findings
) -> dict[str, float | None]:
    """Labels ``ef``, ``edv``, ``esv``, all dropped and noted where ESV exceeds EDV."""
    edv, esv = labels["edv"], labels["esv"]
    if edv is None or esv is None or esv <= edv:
        return labels
    reason = "ESV exceeds EDV; the clip is used without volumes and EF."
    findings.add(dataset, "label_out_of_range", item, reason, Severity.REPAIRED)
    return dict.fromkeys(labels)


def is_empty(file: Path) -> bool:
    """Is the file there, but without a byte?"""
    return file.stat().st_size == 0


def safe_name(text: str) -> str:
    """Text as a file name: letters, digits, ``.``, ``_`` and ``-``."""
    return _UNSAFE.sub("_", text).strip("._") or "_"
