"""What a hospital's table says of a person and of the scanner's settings, in units that are named.

Whatever is not understood is left out and noted: a depth in mm taken for cm, or a year of birth for
an age, would make other sites and subgroups of patients, and nobody would see it.
"""

from collections.abc import Mapping
from typing import NamedTuple

from echofm_core.data.dicom.header import HIGHEST, LOWEST
from echofm_core.data.limits import FASTEST, LONGEST, SHORTEST, SLOWEST
from echofm_core.data.readers._results import Form, Result, read_result
from echofm_core.data.readers._source import MISSING, Source, number, sex_of, trouble


class Measure(NamedTuple):
    """Legal range of a column, inclusive, and its unit."""

    low: float
    high: float
    unit: str


MEASURES = {
    "fps": Measure(SLOWEST, FASTEST, "Hz"),
    "depth_cm": Measure(SHORTEST, LONGEST, "cm"),
    "frequency_mhz": Measure(LOWEST, HIGHEST, "MHz"),
    "gain_db": Measure(-200, 200, "dB"),
    "age": Measure(0.01, 130, "years"),
}
#: Words for a sex that is neither or unknown; any other one is noted.
_OTHER = (*MISSING, "o", "other", "u", "unknown")


def stated_numbers(source: Source, values: Mapping[str, str], item: str) -> dict[str, float]:
    """Those of :data:`MEASURES` that a row has; what cannot be is left out, and noted.

    Args:
        source: Gets the findings.
        values: Cells by column of the manifest; numbers with their unit or without.
        item: How findings name the file.
    """
    found = {name: _number(source, values.get(name, ""), name, item) for name in MEASURES}
    return {name: value for name, value in found.items() if value is not None}


def stated_sex(source: Source, written: str, item: str) -> str | None:
    """``F`` or ``M``; a word that is not understood is noted."""
    sex = sex_of(written)
    if sex is None and written.strip().lower() not in _OTHER:
        reason = "The word for the sex is not known; it is left empty: write F or M."
        source.repaired("unknown_sex", item, reason)
    return sex


def _number(source: Source, written: str, column: str, item: str) -> float | None:
    written, (low, high, unit) = written.strip(), MEASURES[column]
    if written.lower() in MISSING:
        return None
    plain = number(written)
    result = read_result(written) if plain is None else Result(Form.NUMBER, plain, plain)
    wrong = trouble(result, unit)
    if not wrong and (result.low is None or not low <= result.low <= high):
        wrong = f"is not in [{low:g}, {high:g}] {unit}"
    if wrong:
        source.repaired("value_out_of_range", item, f"`{column}` {wrong}; it is not used.")
        return None
    return result.low
