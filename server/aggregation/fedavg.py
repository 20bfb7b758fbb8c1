"""Federated averaging."""

from collections.abc import Mapping
from pathlib import Path

from echofm_core.contract import Weights
from echofm_core.plan.federation import FederationConfig
from server.aggregation._api import Fold, State, WeightedMean
from server.aggregation.shares import Shares


class FedAvg:
    """Mean of the sites' models, each parameter group with its own weights (:class:`Shares`).

    Base of all rules: nothing travels beside the model, and nothing is kept between rounds.

    Args:
        config: The plan's table.
        shares: Weights of the sites.
        folder: Where a rule may put what is too large for memory; None: in the system's.

    Source: McMahan et al. 2017, Communication-Efficient Learning, algorithm 1.
    """

    reply_numbers: tuple[str, ...] = ()

    def __init__(self, config: FederationConfig, shares: Shares, folder: Path | None) -> None:
        self.config = config
        self.shares = shares
        self.folder = folder

    def instruct(self, site: str = "") -> Mapping[str, float]:
        """Nothing beyond plain local training."""
        return {}

    def arrays(self) -> Weights:
        """Nothing beside the model."""
        return {}

    def reply_arrays(self, sent: Weights) -> Weights:
        """Nothing beside the model."""
        return {}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean."""
        return WeightedMean(sent, current, self.shares)

    def state(self) -> State:
        """Nothing is kept."""
        return ()

    def restore(self, state: State) -> None:
        """Nothing was kept."""
