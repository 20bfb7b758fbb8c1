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
    if len(text) <= LONGEST and _BOUND.fullmatch(text):
        return Result(Form.OPEN)
    match = (_EXACT.fullmatch(text) or _RANGE.fullmatch(text)) if len(text) <= LONGEST else None
    if match is not None:
        low, high = (float(end.replace(",", ".")) for end in (match[1], match[match.re.groups - 1]))
        units = {*match.groups()[1::2]} - {""}
        if math.isfinite(high) and low <= high and len(units) <= 1:
            return Result(Form.NUMBER, low, high, "".join(units))
    return Result(Form.WORDS)
