"""Aggregation rules: ``_api`` is the contract, ``shares`` the weights; ``fedavg``, ``fedprox``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from echofm_core.contract import Phase
from echofm_core.plan.document import Aggregation, FederationConfig
from server.aggregation._api import Algorithm
from server.aggregation.fedavg import FedAvg
from server.aggregation.fedprox import FedProx
from server.aggregation.shares import Announced

Rule = Callable[[FederationConfig, Announced, Phase], Algorithm]

#: Plan name -> rule. A new rule is one file and one line here.
ALGORITHMS: Mapping[Aggregation, Rule] = MappingProxyType(
    {Aggregation.FEDAVG: FedAvg, Aggregation.FEDPROX: FedProx}
)


def build_algorithm(
    config: FederationConfig,
    announced: Announced = MappingProxyType({}),
    phase: Phase = Phase.FINETUNE,
) -> Algorithm:
    """The rule that a plan names.

    Args:
        config: The plan's table.
        announced: Site name -> parameter group -> clips that the site says it has, for every site
            that takes part; read where the trunk is weighted by task family.
        phase: What is trained.
    """
    return ALGORITHMS[config.aggregation](config, announced, phase)
