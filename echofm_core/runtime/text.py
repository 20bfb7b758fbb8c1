"""Words of messages: counts, times, and the word that was most likely meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def many(count: int, one: str, several: str = "") -> str:
    """``1 clip``, ``3,204 clips``; the words for several are those for one with an s by default."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def listed(words: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def span(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def did_you_mean(word: str, legal: Iterable[str], quote: str = "'") -> str:
    """What follows a quoted word: the nearest legal one, in the same quotes; "" where none is near.

    Capitals do not count, and of two words as near, the one with the same letters is meant.

    Args:
        word: As it was written.
        legal: All that it may be.
        quote: Around both words: of a value as ``repr`` writes it, of a key a backtick.

    >>> did_you_mean("a4c", ["A4C", "A2C"])
    ", did you mean 'A4C'"
    >>> did_you_mean("evd", ["ef", "esv", "edv"], "`")
    ', did you mean `edv`'
    """
    by_form = {name.lower(): name for name in legal if name}
    near = get_close_matches(word.lower(), by_form, cutoff=0.6)
    near.sort(key=lambda name: sorted(name) != sorted(word.lower()))
    return f", did you mean {quote}{by_form[near[0]]}{quote}" if near else ""
