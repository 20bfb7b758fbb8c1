"""Coordinate-wise trimmed mean: a few sites, whatever they send, cannot move the model far."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights
from server.aggregation._api import Algorithm, Fold
from server.aggregation.on_disk import EveryReply


class TrimmedMean(Algorithm):
    """Each number of the model moves by the mean change without the largest and smallest ones.

    At each end ``trimmed_share`` of the sites that trained the number is left out, rounded up, as
    long as one is left: of two sites none is, of three one at each end. It bears as many faulty
    sites as it leaves out at one end. Sites count alike, whatever ``trunk_weights`` and
    ``weight_exponent`` say: a site could claim its weight.

    Source: Yin et al. 2018, Byzantine-Robust Distributed Learning, algorithm 1, option II.
    """

    def start(self, sent: Weights, current: Weights) -> Fold:
        """All changes wait on disk for the last."""
        combine = partial(_trimmed_mean, share=self.config.trimmed_share)
        return EveryReply(sent, current, combine, self.folder)


def trimmed(sites: int, share: float) -> int:
    """Sites that are left out at each end."""
    # 0.07 * 100 is a little more than 7.
    return min(math.ceil(round(share * sites, 9)), (sites - 1) // 2)


def _trimmed_mean(changes: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Mean over sites without the ends: (sites, chunk) to (chunk,)."""
    out = trimmed(len(changes), share)
    changes.sort(axis=0)
    mean: NDArray[np.float32] = changes[out : len(changes) - out].mean(axis=0)
    return mean
