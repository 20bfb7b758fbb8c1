"""Fair averaging (q-FedAvg): sites at which the model does badly count more."""

from collections.abc import Mapping

from echofm_core.contract import GLOBAL_LOSS, Update, Weights
from echofm_core.plan.federation import FederationConfig
from server.aggregation._api import Algorithm, Fold, WeightedMean
from server.aggregation.shares import Shares

#: Added to a loss, so that its powers exist at 0; that of the authors' code.
TINY = 1e-10
#: Least power of a loss: float32 holds its products with small changes. Without it a group that one
#: site alone trains, with a loss of 0 and q = 5, would be 0 / 0.
LEAST = 1e-20


class QFedAvg(Algorithm):
    """``w += sum p_i F_i^q d_i / sum p_i (F_i^q + q L F_i^(q-1) ||d_i||^2)``.

    ``F_i`` is the loss of the global model at the site before it trains, ``d_i`` its change,
    ``p_i`` its weight, q ``fairness_q`` and L ``fairness_lipschitz``. With SGD and ``L`` one over
    its learning rate that is the paper's step (numerator and denominator divided by L); q = 0 is
    FedAvg. With AdamW ``L d_i`` is no gradient, and the term in L would all but stop the model,
    since ``||d_i||^2`` grows with its size: by default L is 0, and the step is the mean of changes
    by ``p_i F_i^q``, in the paper's direction.

    ``F_i`` is the loss on the site's validation patients, which the model was not fitted to, where
    the paper has the training loss. Sums over tasks: sites with more tasks have larger losses. A
    site could claim a loss, and so its weight.

    Source: Li et al. 2020, Fair Resource Allocation in Federated Learning, algorithm 2 (q-FedAvg).
    """

    reply_numbers: Mapping[str, tuple[float, float]] = {GLOBAL_LOSS: (0.0, 1000.0)}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running mean that weighs sites by their losses too."""
        return _FairMean(sent, current, self.shares, self.config)


class _FairMean(WeightedMean):
    def __init__(
        self, sent: Weights, current: Weights, shares: Shares, config: FederationConfig
    ) -> None:
        super().__init__(sent, current, shares)
        self._q, self._lipschitz = config.fairness_q, config.fairness_lipschitz

    def weigh(
        self, counts: Mapping[str, int], update: Update | None, norm: float
    ) -> dict[str, tuple[float, float]]:
        """By the loss that the site reports; without an update all are alike."""
        loss = TINY + (update.numbers[GLOBAL_LOSS] if update else 1.0)
        factor = max(loss**self._q, LEAST)
        damped = factor + self._q * self._lipschitz * loss ** (self._q - 1) * norm**2
        shares = self.shares.of(counts)
        return {group: (share * factor, share * damped) for group, share in shares.items()}
