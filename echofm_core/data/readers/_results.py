"""Results of measurements as people write them into reports: numbers, ranges, bounds, words."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum

#: With a decimal point, or a decimal comma. A comma before three digits may stand for thousands.
_COMMA = r"(?:0,[0-9]+|[0-9]+,(?![0-9]{3}(?![0-9]))[0-9]+)"
_NUMBER = rf"([+-]?(?:{_COMMA}|[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
_UNIT = r"\s*(%|(?!to[^a-z])[a-z][a-z0-9/^]*|)"  # the first word of "to 60" is none
_EXACT = re.compile(rf"{_NUMBER}{_UNIT}")
_RANGE = re.compile(rf"{_NUMBER}{_UNIT}\s*(?:-|–|—|to)\s*{_NUMBER}{_UNIT}")
_BOUND = re.compile(rf"(?:[<>≤≥]=?|=[<>])\s*{_NUMBER}{_UNIT}|{_NUMBER}{_UNIT}\s*\+")

#: A longer text is prose.
LONGEST = 80


class Form(StrEnum):
    """What a result is."""

    BLANK = "blank"
    NUMBER = "number"
    """A number, or a range."""
    OPEN = "open"
    """A bound on one side, such as ``>55``: no number."""
    WORDS = "words"
    """Anything else."""


@dataclass(frozen=True, slots=True)
class Result:
    """One result.

    Attributes:
        form: What it is.
        low, high: Ends of a range, equal for a number; None where there is no number.
        unit: As written behind the number, lower case; "" where there is none.
    """

    form: Form
    low: float | None = None
    high: float | None = None
    unit: str = ""


def read_result(text: str) -> Result:
    """What ``"55"``, ``"55 %"``, ``"50-55"``, ``"55 to 60"``, ``">55"`` or ``"NORMAL"`` says.

    A range that runs downwards, or whose ends have different units, is words.
    """
    text = text.strip().lower()
    if not text:
        return Result(Form.BLANK)
    if len(text) > LONGEST:
        return Result(Form.WORDS)
    if _BOUND.fullmatch(text):
        return Result(Form.OPEN)
    low_text, low_unit, high_text, high_unit = "", "", "", ""
    if match := _EXACT.fullmatch(text):
        low_text, low_unit = high_text, high_unit = match.groups()
    elif match := _RANGE.fullmatch(text):
        low_text, low_unit, high_text, high_unit = match.groups()
    else:
        return Result(Form.WORDS)
    low, high = (float(end.replace(",", ".")) for end in (low_text, high_text))
    units = {low_unit, high_unit} - {""}
    if not (math.isfinite(high) and low <= high and len(units) <= 1):
        return Result(Form.WORDS)
    return Result(Form.NUMBER, low, high, "".join(units))
