"""FedAdam: the server takes a step of Adam along the mean change of the sites."""

import numpy as np
from numpy.typing import NDArray

from server.aggregation.adaptive import Adaptive


class FedAdam(Adaptive):
    """``v = beta2 * v + (1 - beta2) * d ** 2``: the usual size of recent changes.

    Source: Reddi et al. 2021, Adaptive Federated Optimization, algorithm 2 (FedAdam).
    """

    def second(
        self, before: NDArray[np.float32], change: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Moving average of squared changes."""
        beta2 = np.float32(self.config.server_beta2)
        return beta2 * before + (1 - beta2) * change**2
