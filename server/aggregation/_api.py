"""What an aggregation rule is: short hooks around the round loop of ``server/phase.py``.

A rule is a subclass of :class:`Algorithm` that overrides what it does differently. Its round is a
:class:`WeightedMean`, or ``EveryReply`` (``on_disk``) where it needs all replies at once. The
journal keeps its state with each round; what a site does with what it receives is in
``client/training.py``.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Phase, Update, Weights, group_of
from echofm_core.data.formats.bfloat16 import as_float32
from echofm_core.plan.federation import FederationConfig
from server.aggregation.shares import Announced, Shares

#: Elements of one pass: small enough that its scratch stays in the processor's cache.
CHUNK = 1 << 17
#: Elements of one dot product: its float32 loses little, and a thread alone takes it.
PIECE = 1 << 13

#: What an algorithm remembers: named parts, each arrays by name, made one part at a time.
State = Iterable[tuple[str, Weights]]


class Fold(Protocol):
    """A round in progress. Replies come one at a time, in site-name order, then ``finish``."""

    def add(
        self,
        weights: Weights,
        counts: Mapping[str, int],
        update: Update | None = None,
        norm: float | None = None,
    ) -> float:
        """Take in one admitted update; nothing of it is kept in memory.

        Args:
            weights: Arrays of the groups in ``counts``, fp32, fp16 or the bits of bf16.
            counts: Parameter group -> training clips behind it, all positive.
            update: All of it, for rules that read more; None in tests of those that do not.
            norm: L2 norm of what it changes; None where it is not known yet.

        Returns:
            That norm, for the journal.
        """

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model; called once, and not at all where a round fails."""


class Algorithm:
    """How a federation turns local models into a global one; by itself federated averaging.

    That is the mean of the sites' models, each parameter group with its own weights (``Shares``).

    Args:
        config: The plan's table.
        shares: Weights of the sites.
        folder: Where a rule may put what is too large for memory; None: in the system's.

    Source: McMahan et al. 2017, Communication-Efficient Learning, algorithm 1.
    """

    #: Its own numbers that each reply holds, by name, and the ends of their legal values.
    reply_numbers: Mapping[str, tuple[float, float]] = MappingProxyType({})
    #: Whether a site may join in the middle of a phase.
    takes_late_sites = True

    def __init__(self, config: FederationConfig, shares: Shares, folder: Path | None) -> None:
        self.config = config
        self.shares = shares
        self.folder = folder

    def announce(self, announced: Announced, phase: Phase) -> None:
        """Weigh sites by what these have announced from the next round on: some have joined."""
        self.shares = Shares(self.config, announced, phase)

    def instruct(self, site: str = "") -> Mapping[str, float]:
        """Numbers that a site receives with its instruction, by name."""
        return {}

    def arrays(self) -> Weights:
        """What every site receives beside the model, ``PREFIX/PARAMETER``; asked once a round."""
        return {}

    def reply_arrays(self, sent: Weights) -> Weights:
        """Its own arrays that each reply holds for the groups that were trained.

        Args:
            sent: What the sites start from.

        Returns:
            By name, ``PREFIX/PARAMETER``; only shapes and types are read.
        """
        return {}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """Begin a round.

        Args:
            sent: What the sites start from, in wire precision.
            current: The global model in float32; the same numbers where the wire is fp32.
        """
        return WeightedMean(sent, current, self.shares)

    def state(self) -> State:
        """What the next round needs beside the model, after ``finish``."""
        return ()

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` gave after an earlier round."""


class WeightedMean:
    """Running mean of site changes, each parameter group with its own weights.

    The sum runs over ``site - sent`` in float32, so that rounding on the wire does not add up
    over rounds. Sums depend on the order of ``add``: the caller keeps it.

    Args:
        sent, current: As of :meth:`Algorithm.start`.
        shares: Weights of a site.
        step: Turns the mean change of a named array, in place, into what is added to the model.
    """

    def __init__(
        self,
        sent: Weights,
        current: Weights,
        shares: Shares,
        step: Callable[[str, NDArray[np.float32]], None] | None = None,
    ) -> None:
        self._sent, self._current = sent, current
        self.shares, self._step = shares, step
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._totals: dict[str, float] = {}

    def add(
        self,
        weights: Weights,
        counts: Mapping[str, int],
        update: Update | None = None,
        norm: float | None = None,
    ) -> float:
        """Take in one admitted update; returns the L2 norm of its change."""
        if norm is None:
            norm = self._norm(weights)
        factors = self.weigh(counts, update, norm)
        for group, (_, weight) in factors.items():
            self._totals[group] = self._totals.get(group, 0.0) + weight
        for name, array in weights.items():
            share = np.float32(factors[group_of(name)][0])
            first = name not in self._sums
            if first:
                self._sums[name] = np.empty(array.shape, np.float32)
            total = self._sums[name].reshape(-1)
            for part, change in changes(array, self._sent[name]):
                if first:
                    np.multiply(change, share, out=total[part])
                else:
                    change *= share
                    total[part] += change
        return norm

    def weigh(
        self, counts: Mapping[str, int], update: Update | None, norm: float
    ) -> dict[str, tuple[float, float]]:
        """What an update counts in each group.

        Args:
            counts, update: As of :meth:`add`.
            norm: L2 norm of its change.

        Returns:
            Group -> what its change is multiplied by, and its part of what the sum is divided by.
        """
        return {group: (share, share) for group, share in self.shares.of(counts).items()}

    def mean_of(self, group: str, total: float) -> float:
        """What the sum of a group is divided by; ``total``: the sum of the parts, not 0."""
        return total

    def _norm(self, weights: Weights) -> float:
        squares = 0.0
        for name, array in weights.items():
            squares += sum(sum_of_squares(part) for _, part in changes(array, self._sent[name]))
        return math.sqrt(squares)

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model; groups that nobody trained are passed on as they are."""
        model: dict[str, NDArray[np.float32]] = {}
        for name, array in self._current.items():
            total, group = self._sums.pop(name, None), group_of(name)
            if total is None or not self._totals[group]:
                model[name] = array.astype(np.float32, copy=False)
                continue
            divide(total, self.mean_of(group, self._totals[group]))
            if self._step:
                self._step(name, total)
            total += array
            model[name] = total
        return model


def divide(total: NDArray[np.float32], by: float) -> None:
    """Divide an array in place, by a number that float32 need not hold: then in several steps."""
    most = float(np.finfo(np.float32).max)
    while most < by < math.inf:
        total /= np.float32(most)
        by /= most
    total /= np.float32(by)


def chunks(size: int, most: int = 0) -> Iterator[slice]:
    """Consecutive parts of a flat array, each of at most ``most`` elements (0: ``CHUNK``)."""
    step = most or CHUNK
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def sum_of_squares(values: NDArray[np.float32]) -> float:
    """Of a flat array, in float64 over pieces; the same however many threads BLAS has."""
    whole = values.size // PIECE * PIECE
    pieces, rest = values[:whole].reshape(-1, PIECE), values[whole:]
    # A row times a column is a dot product of its own: one call for all pieces.
    products = np.matmul(pieces[:, None, :], pieces[:, :, None]).reshape(-1).tolist()
    if rest.size:
        products.append(float(np.dot(rest, rest)))
    total = 0.0
    for product in products:  # one after the other: sum() of Python 3.12 rounds otherwise
        total += product
    return total


def changes(
    array: NDArray[np.floating], base: NDArray[np.floating]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """``array - base`` in float32, a chunk at a time; each chunk is good until the next one."""
    flat, flat_base = array.reshape(-1), base.reshape(-1)
    scratch = np.empty(min(CHUNK, flat.size), np.float32)
    for part in chunks(flat.size):
        change = scratch[: part.stop - part.start]
        np.subtract(
            as_float32(flat[part]), as_float32(flat_base[part]), out=change, dtype=np.float32
        )
        yield part, change
