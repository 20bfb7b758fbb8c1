"""FedYogi: FedAdam whose second moment moves by a bounded amount in a round."""

import numpy as np
from numpy.typing import NDArray

from server.aggregation.adaptive import Adaptive


class FedYogi(Adaptive):
    """``v = v - (1 - beta2) * d ** 2 * sign(v - d ** 2)``.

    A round moves ``v`` by at most ``(1 - beta2) * d ** 2``, however large ``v`` is: after large
    changes it shrinks more slowly than FedAdam's, so steps do not grow at once.

    Source: Reddi et al. 2021, Adaptive Federated Optimization, algorithm 2 (FedYogi).
    """

    def second(
        self, before: NDArray[np.float32], change: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Towards the squared change, by a part of that change."""
        square, part = change**2, 1 - np.float32(self.config.server_beta2)
        after: NDArray[np.float32] = before - part * square * np.sign(before - square)
        return after
