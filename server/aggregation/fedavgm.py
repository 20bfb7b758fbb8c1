"""FedAvgM: federated averaging with momentum at the server."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Weights
from echofm_core.plan.federation import FederationConfig
from server.aggregation._api import Algorithm, Fold, State, WeightedMean, chunks
from server.aggregation.on_disk import DiskArrays
from server.aggregation.shares import Shares

#: Part of the state: the sum of past mean changes, each decayed by a factor a round.
VELOCITY = "velocity"


class FedAvgM(Algorithm):
    """FedAvg's mean change d moves a velocity, which moves the model: ``v = beta * v + d; w += v``.

    ``v`` begins at 0 and is on disk while a round runs. There is no learning rate at the server, as
    published: a change that stays the same moves the model ``1 / (1 - beta)`` times as far as with
    FedAvg in the long run. A group that nobody trained keeps its weights and its velocity.

    Source: Hsu et al. 2019, Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification, section 3.2 (server momentum).
    """

    def __init__(self, config: FederationConfig, shares: Shares, folder: Path | None) -> None:
        super().__init__(config, shares, folder)
        self._disk = DiskArrays(folder)

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean that ends in a step of the velocity."""
        return WeightedMean(sent, current, self.shares, self._step)

    def state(self) -> State:
        """The velocity."""
        yield VELOCITY, self._disk.load(VELOCITY)

    def restore(self, state: State) -> None:
        """Take the velocity up again."""
        for part, arrays in state:
            self._disk.put(part, arrays)

    def _step(self, name: str, change: NDArray[np.float32]) -> None:
        """Update the velocity of an array, and put it into its mean change."""
        self._disk.reserve(VELOCITY, name, change.shape)
        flat, beta = change.reshape(-1), np.float32(self.config.server_momentum)
        for piece in chunks(flat.size):
            flat[piece] += beta * self._disk.read(VELOCITY, name, piece)
            self._disk.write(VELOCITY, name, piece, flat[piece])
