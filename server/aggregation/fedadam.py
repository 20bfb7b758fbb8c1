"""FedAdam: the server takes a step of Adam along the mean change of the sites."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights
from echofm_core.plan.federation import FederationConfig
from server.aggregation._api import Algorithm, Fold, State, WeightedMean, chunks
from server.aggregation.on_disk import DiskArrays
from server.aggregation.shares import Shares

#: Parts of the state: moving averages of the mean change and of its square.
FIRST, SECOND = "first-moment", "second-moment"


class FedAdam(Algorithm):
    """FedAvg's mean change d is a pseudo-gradient: ``w += rate * m / (sqrt(v) + tau)``.

    ``m = beta1 * m + (1 - beta1) * d`` from 0, and ``v = beta2 * v + (1 - beta2) * d ** 2`` from
    ``tau ** 2``, without a correction of their bias, as published. Both moments are on disk while a
    round runs. A group that nobody trained keeps its weights and its moments.

    Source: Reddi et al. 2021, Adaptive Federated Optimization, algorithm 2 (FedAdam).
    """

    def __init__(self, config: FederationConfig, shares: Shares, folder: Path | None) -> None:
        super().__init__(config, shares, folder)
        self._moments = DiskArrays(folder)

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean that ends in a step of Adam."""
        return WeightedMean(sent, current, self.shares, self._step)

    def state(self) -> State:
        """Both moments."""
        return ((part, self._moments.load(part)) for part in (FIRST, SECOND))

    def restore(self, state: State) -> None:
        """Take both moments up again."""
        for part, arrays in state:
            self._moments.put(part, arrays)

    def _step(self, name: str, change: NDArray[np.float32]) -> None:
        """Update the moments of an array, and turn its mean change into Adam's step, in place."""
        tau = np.float32(self.config.server_tau)
        beta1, beta2 = np.float32(self.config.server_beta1), np.float32(self.config.server_beta2)
        if not self._moments.has(FIRST, name):
            self._moments.reserve(FIRST, name, change.shape)
            self._moments.put(SECOND, {name: np.full_like(change, tau * tau)})
        flat = change.reshape(-1)
        for piece in chunks(flat.size):
            part = flat[piece]
            first = beta1 * self._moments.read(FIRST, name, piece) + (1 - beta1) * part
            second = beta2 * self._moments.read(SECOND, name, piece) + (1 - beta2) * part**2
            self._moments.write(FIRST, name, piece, first)
            self._moments.write(SECOND, name, piece, second)
            part[:] = np.float32(self.config.server_learning_rate) * first / (np.sqrt(second) + tau)
