"""What an aggregation algorithm is: two short hooks around the round loop.

*Abstract*: nothing; the base class is FedAvg's arithmetic. *Overridable*: :meth:`instruct` (what
the sites must do differently) and :meth:`start` (how replies become the next model). *Inherited*:
the loop itself, which lives in ``server/phase.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights, group_of
from server.aggregation.shares import Shares

#: Elements of one pass: small enough that its scratch stays in the processor's cache.
CHUNK = 1 << 17


class Fold(Protocol):
    """A round in progress. Replies come one at a time, in site-name order, then ``finish``."""

    def add(self, weights: Weights, counts: Mapping[str, int]) -> float:
        """Take in one admitted update; nothing of it is kept.

        Args:
            weights: Arrays of the groups in ``counts``, fp32 or fp16.
            counts: Parameter group -> training clips behind it, all positive.

        Returns:
            L2 norm of what it changes, for the journal.
        """

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model; called once."""


class Algorithm(Protocol):
    """How a federation turns local models into a global one."""

    def instruct(self) -> Mapping[str, float]:
        """Settings that every site receives with its instruction."""

    def start(self, sent: Weights, current: Weights) -> Fold:
        """Begin a round.

        Args:
            sent: What the sites start from, in wire precision.
            current: The global model in float32; the same numbers where the wire is fp32.
        """


class WeightedMean:
    """Running mean of site changes, each parameter group with its own weights.

    The sum runs over ``site - sent`` in float32, so that rounding on the wire does not add up
    over rounds. Sums depend on the order of ``add``: the caller keeps it.
    """

    def __init__(self, sent: Weights, current: Weights, shares: Shares) -> None:
        self._sent = sent
        self._current = current
        self._shares = shares
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._totals: dict[str, float] = {}
        self._scratch = np.empty(CHUNK, np.float32)

    def add(self, weights: Weights, counts: Mapping[str, int]) -> float:
        """Take in one admitted update; returns the L2 norm of its change."""
        squares = 0.0
        shares = self._shares.of(counts)
        for group, weight in shares.items():
            self._totals[group] = self._totals.get(group, 0.0) + weight
        for name, array in weights.items():
            share = np.float32(shares[group_of(name)])
            first = name not in self._sums
            if first:
                self._sums[name] = np.empty(array.shape, np.float32)
            squares += self._add_array(self._sums[name], array, self._sent[name], share, first)
        return math.sqrt(squares)

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model; groups that nobody trained are passed on as they are."""
        model: dict[str, NDArray[np.float32]] = {}
        for name, array in self._current.items():
            total = self._sums.pop(name, None)
            if total is None or not self._totals[group_of(name)]:
                model[name] = array.astype(np.float32, copy=False)
                continue
            total /= np.float32(self._totals[group_of(name)])
            total += array
            model[name] = total
        return model

    def _add_array(
        self,
        total: NDArray[np.float32],
        array: NDArray[np.floating],
        base: NDArray[np.floating],
        share: np.float32,
        first: bool,
    ) -> float:
        """``total += share * (array - base)``, a chunk at a time; returns the squared norm."""
        squares = 0.0
        flat_total, flat, flat_base = total.reshape(-1), array.reshape(-1), base.reshape(-1)
        for start in range(0, flat.size, CHUNK):
            part = slice(start, min(start + CHUNK, flat.size))
            change = self._scratch[: part.stop - start]
            np.subtract(flat[part], flat_base[part], out=change, dtype=np.float32)
            squares += float(np.einsum("i,i->", change, change))
            if first:
                np.multiply(change, share, out=flat_total[part])
            else:
                change *= share
                flat_total[part] += change
        return squares
