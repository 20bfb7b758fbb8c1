"""FedNova: sites that take more steps do not pull the model towards their own optimum."""

from collections.abc import Mapping

from echofm_core.contract import LOCAL_STEPS, Update, Weights
from server.aggregation._api import Algorithm, Fold, WeightedMean
from server.aggregation.shares import Shares


class FedNova(Algorithm):
    """``w += tau * sum p_i d_i / tau_i``: changes by the step, times the mean number of steps.

    ``d_i`` is a site's change, ``tau_i`` the steps that it took, ``p_i`` its weight and
    ``tau = sum p_i tau_i``. The paper divides by the 1-norm of how much each local gradient counts
    in ``d_i``, which for SGD is ``tau_i``. For AdamW there is no such sum of gradients; ``tau_i``
    is used there too, since its steps are about as long whatever the gradients, so that a change
    grows with their number, and the schedule of the learning rate is the same at all sites.

    Where all sites take as many steps (the plan's ``local_steps``) this is FedAvg, but for
    rounding; it differs with ``local_epochs``. Each reply holds its number of steps.

    Source: Wang et al. 2020, Tackling the Objective Inconsistency Problem, section 4 (FedNova).
    """

    #: Of a site alone; how many the plan allows is checked by the round loop.
    reply_numbers: Mapping[str, tuple[float, float]] = {LOCAL_STEPS: (1.0, 1e9)}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running mean of changes by the step."""
        return _NovaMean(sent, current, self.shares)


class _NovaMean(WeightedMean):
    """Sums ``p_i d_i / tau_i`` and, beside it, ``p_i tau_i``."""

    def __init__(self, sent: Weights, current: Weights, shares: Shares) -> None:
        super().__init__(sent, current, shares)
        self._steps: dict[str, float] = {}

    def weigh(
        self, counts: Mapping[str, int], update: Update | None, norm: float
    ) -> dict[str, tuple[float, float]]:
        """A change counts by the step."""
        steps = update.numbers[LOCAL_STEPS] if update else 1.0
        shares = self.shares.of(counts)
        for group, share in shares.items():
            self._steps[group] = self._steps.get(group, 0.0) + share * steps
        return {group: (share / steps, share) for group, share in shares.items()}

    def mean_of(self, group: str, total: float) -> float:
        """Of the sum of weights too, so that what is left is ``tau`` times the mean."""
        return total * total / self._steps[group]
