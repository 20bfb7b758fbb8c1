"""Counts in words: one of a thing is not written as several are."""

from __future__ import annotations


def many(count: int, one: str, several: str = "") -> str:
    """``1 clip``, ``3,204 clips``.

    Args:
        count: How many.
        one: The words for one of them, with a verb where it follows.
        several: Those for more or none; default: ``one`` with an s.
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"
