"""What is shown where not all can be shown."""

from collections.abc import Sequence

import numpy as np


def evenly(count: int, wanted: int) -> list[int]:
    """At most ``wanted`` indices spread over ``range(count)``, ends included."""
    picked = np.linspace(0, count - 1, min(count, wanted)).round().astype(int)
    return [int(index) for index in picked]


def deal(sizes: Sequence[int], wanted: int) -> list[int]:
    """How many of each group are shown: one each in turn, until ``wanted`` are.

    Args:
        sizes: Members of each group; no group is dealt more than it has.
        wanted: Of all groups together; where there is less, all are shown.
    """
    shares = [0] * len(sizes)
    for turn in range(min(wanted, max(sizes, default=0))):
        for group, size in enumerate(sizes):
            if turn < size and sum(shares) < wanted:
                shares[group] += 1
    return shares
