"""The word that was most likely meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, legal: Iterable[str]) -> str:
    """``, did you mean `NAME` `` where a legal word is near, else nothing; capitals do not count.

    >>> did_you_mean("a4c", ["A4C", "A2C"])
    ', did you mean `A4C`'
    """
    by_form = {name.lower(): name for name in legal if name}
    near = get_close_matches(word.lower(), by_form, n=1, cutoff=0.6)
    return f", did you mean `{by_form[near[0]]}`" if near else ""
