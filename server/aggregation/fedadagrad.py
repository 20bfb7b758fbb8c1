"""FedAdagrad: the server's steps shrink with all changes that there have been."""

import numpy as np
from numpy.typing import NDArray

from server.aggregation.adaptive import Adaptive


class FedAdagrad(Adaptive):
    """``v = v + d ** 2``: the sum of all squared changes, so that steps only shrink.

    ``server_beta1`` holds here too, as in the paper's algorithm; its experiments have 0.

    Source: Reddi et al. 2021, Adaptive Federated Optimization, algorithm 2 (FedAdagrad).
    """

    def second(
        self, before: NDArray[np.float32], change: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Sum of squared changes."""
        return before + change**2
