"""Federated averaging."""

from __future__ import annotations

from collections.abc import Mapping

from echofm_core.contract import Phase, Weights
from echofm_core.plan.document import FederationConfig
from server.aggregation._api import Fold, WeightedMean
from server.aggregation.shares import Announced, Shares


class FedAvg:
    """Mean of the sites' models, each parameter group with its own weights (:class:`Shares`).

    Source: McMahan et al. 2017, Communication-Efficient Learning, algorithm 1.
    """

    def __init__(self, config: FederationConfig, announced: Announced, phase: Phase) -> None:
        self._shares = Shares(config, announced, phase)

    def instruct(self) -> Mapping[str, float]:
        """Nothing beyond plain local training."""
        return {}

    def start(self, sent: Weights, current: Weights) -> Fold:
        """A running weighted mean."""
        return WeightedMean(sent, current, self._shares)
