"""Krum and multi-Krum: the model moves by the changes that lie closest to the others."""

from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights, group_of
from echofm_core.plan.federation import FederationConfig, krum_quorum
from server.aggregation._api import Algorithm, Fold, sum_of_squares
from server.aggregation.median import median
from server.aggregation.on_disk import EveryReply


class Krum(Algorithm):
    """A parameter group moves by the change of the site that is closest to its neighbours.

    The score of a site is the sum of squared distances to the ``n - f - 2`` closest others of the
    ``n`` that trained the group, where ``f`` is ``faulty_sites``. The site of the least score is
    taken, or with ``kept_sites`` m above 1 the mean of the m with the least (multi-Krum), at most
    ``n - f``; of equal scores the first in site order. Sites count alike.

    The paper's vector is the whole model. Here it is a group, since sites train different heads: a
    site that is kept for its encoder says nothing of a head that it does not train. A group that
    fewer than ``2 f + 3`` sites trained, for which nothing is proven, moves by the median change.

    Source: Blanchard et al. 2017, Machine Learning with Adversaries, sections 4 and 6 (multi-Krum).
    """

    def start(self, sent: Weights, current: Weights) -> Fold:
        """All changes wait on disk for the last."""
        return _KrumRound(sent, current, self.config, self.folder)


class _KrumRound(EveryReply):
    """Two passes over what waits: one for the distances, one for the mean of those kept."""

    def __init__(
        self, sent: Weights, current: Weights, config: FederationConfig, folder: Path | None
    ) -> None:
        super().__init__(sent, current, median, folder)
        self._config = config
        self._kept: dict[str, list[int]] = {}

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model; groups that nobody trained are passed on as they are."""
        self._kept = {
            group: kept_of(distances, self._config.faulty_sites, self._config.kept_sites)
            for group, distances in self._distances().items()
        }
        return super().finish()

    def combine(self, name: str, changes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean change of the sites that are kept for the group; the median where none is."""
        kept = self._kept.get(group_of(name))
        if not kept:
            return super().combine(name, changes)
        mean: NDArray[np.float32] = changes[kept].mean(axis=0)
        return mean

    def _distances(self) -> dict[str, NDArray[np.float64]]:
        """Group -> squared distances between the changes of its sites, (sites, sites)."""
        found: dict[str, NDArray[np.float64]] = {}
        for name in self.names():
            for _, changes in self.stacks(name):
                sites = len(changes)
                squares = found.setdefault(group_of(name), np.zeros((sites, sites)))
                for one, other in combinations(range(sites), 2):
                    squares[one, other] += sum_of_squares(changes[one] - changes[other])
        return {group: squares + squares.T for group, squares in found.items()}


def kept_of(distances: NDArray[np.float64], faulty: int, keep: int) -> list[int]:
    """Sites whose changes are taken, in site order; none where they are too few to judge.

    Args:
        distances: Squared, (sites, sites).
        faulty: Sites that may send anything.
        keep: How many are taken, at most all but the faulty ones.
    """
    sites = len(distances)
    if sites < krum_quorum(faulty):
        return []
    # A site's own distance, 0, is the first of its sorted row.
    scores = np.sort(distances, axis=1)[:, 1 : sites - faulty - 1].sum(axis=1)
    best = np.argsort(scores, kind="stable")[: min(keep, sites - faulty)]
    return sorted(int(site) for site in best)
