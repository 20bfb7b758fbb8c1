"""Federated averaging."""

from __future__ import annotations

from collections.abc import Mapping

from echofm_core.contract import Weights
from echofm_core.plan import FederationConfig
from server.aggregation._api import Fold, WeightedMean


class FedAvg:
    """Mean of the sites' models, weighted by a power of their clip counts.

    Source: McMahan et al. 2017, Communication-Efficient Learning, algorithm 1.
    """

    def __init__(self, config: FederationConfig) -> None:
        self._exponent = config.weight_exponent

    def instruct(self) -> Mapping[str, float]:
        """Nothing beyond plain local training."""
        return {}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean."""
        return WeightedMean(sent, current, self._exponent)
