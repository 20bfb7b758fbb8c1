"""What FedAdam, FedYogi and FedAdagrad share: two moments of the mean change, kept on disk."""

from abc import ABC, abstractmethod
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


class Adaptive(Algorithm, ABC):
    """FedAvg's mean change d is a pseudo-gradient: ``w += rate * m / (sqrt(v) + tau)``.

    ``m = beta1 * m + (1 - beta1) * d`` from 0, without a correction of its bias, as published. A
    rule says how ``v`` moves; it begins at ``tau ** 2``. Both are on disk while a round runs. A
    group that nobody trained keeps its weights and its moments.

    Source: Reddi et al. 2021, Adaptive Federated Optimization, algorithm 2.
    """

    def __init__(self, config: FederationConfig, shares: Shares, folder: Path | None) -> None:
        super().__init__(config, shares, folder)
        self._moments = DiskArrays(folder)

    @abstractmethod
    def second(
        self, before: NDArray[np.float32], change: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The second moment after a round.

        Args:
            before, change: Second moment and mean change of the same numbers, (chunk,); neither
                may be written to.
        """

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean that ends in a step of the server's optimizer."""
        return WeightedMean(sent, current, self.shares, self._step)

    def state(self) -> State:
        """Both moments."""
        return ((part, self._moments.load(part)) for part in (FIRST, SECOND))

    def restore(self, state: State) -> None:
        """Take both moments up again."""
        for part, arrays in state:
            self._moments.put(part, arrays)

    def _step(self, name: str, change: NDArray[np.float32]) -> None:
        """Update the moments of an array, and turn its mean change into a step, in place."""
        tau, beta1 = np.float32(self.config.server_tau), np.float32(self.config.server_beta1)
        if not self._moments.has(FIRST, name):
            self._moments.reserve(FIRST, name, change.shape)
            self._moments.put(SECOND, {name: np.full_like(change, tau * tau)})
        flat = change.reshape(-1)
        for piece in chunks(flat.size):
            part = flat[piece]
            first = beta1 * self._moments.read(FIRST, name, piece) + (1 - beta1) * part
            second = self.second(self._moments.read(SECOND, name, piece), part)
            self._moments.write(FIRST, name, piece, first)
            self._moments.write(SECOND, name, piece, second)
            part[:] = np.float32(self.config.server_learning_rate) * first / (np.sqrt(second) + tau)
