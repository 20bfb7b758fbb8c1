"""Consecutive parts of a batch: for devices side by side, and for one device one by one."""

from itertools import pairwise

import numpy as np


def slices(samples: int, parts: int) -> list[slice]:
    """Consecutive parts of a batch, sizes differing by at most one; none is empty."""
    ends = np.linspace(0, samples, min(parts, samples) + 1).round().astype(int)
    return [slice(start, end) for start, end in pairwise(ends.tolist())]
