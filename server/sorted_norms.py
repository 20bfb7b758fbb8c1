"""Norms that come one at a time, in order, so that none are sorted anew for each median.

Symptom: a round of a thousand sites takes more than ten times one of a hundred. Reason: each reply
is judged by a median, and to sort all norms for each makes the round quadratic. Protocol: each norm
is put where it belongs as it comes; norms that are still out count as zeros, which stand in front
of all and are never stored.
"""

from bisect import insort
from collections.abc import Iterable


class SortedNorms:
    """L2 norms, none negative.

    Args:
        norms: Those that are known from the beginning, in any order.
    """

    def __init__(self, norms: Iterable[float] = ()) -> None:
        self._sorted = sorted(norms)

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, norm: float) -> None:
        """Take in one more."""
        insort(self._sorted, norm)

    def median(self, zeros: int = 0) -> float:
        """The median of all and of so many zeros beside them; as ``statistics.median``.

        Raises:
            IndexError: There is nothing.
        """
        size = zeros + len(self._sorted)
        middle = size // 2
        if size % 2:
            return self._at(middle - zeros)
        return (self._at(middle - 1 - zeros) + self._at(middle - zeros)) / 2

    def _at(self, position: int) -> float:
        """The norm at a position behind the zeros; a negative one is a zero's."""
        return self._sorted[position] if position >= 0 else 0.0
