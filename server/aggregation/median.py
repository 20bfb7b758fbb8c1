"""Coordinate-wise median: a few sites, whatever they send, cannot move the model far."""

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights
from server.aggregation._api import Algorithm, Fold
from server.aggregation.on_disk import EveryReply


class Median(Algorithm):
    """Each number of the model moves by the median change of the sites that trained it.

    Sites count alike, whatever ``trunk_weights`` and ``weight_exponent`` say: a site could claim
    its weight. Of an even number of sites it is the mean of the middle two.

    Source: Yin et al. 2018, Byzantine-Robust Distributed Learning, algorithm 1, option I.
    """

    def start(self, sent: Weights, current: Weights) -> Fold:
        """All changes wait on disk for the last."""
        return EveryReply(sent, current, median, self.folder)


def median(changes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median over sites: (sites, chunk) to (chunk,)."""
    middle: NDArray[np.float32] = np.median(changes, axis=0)
    return middle
