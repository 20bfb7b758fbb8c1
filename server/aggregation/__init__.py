"""Aggregation rules: ``_api`` is the contract; ``fedavg``, ``fedprox`` implement it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from echofm_core.plan import Aggregation, FederationConfig
from server.aggregation._api import Algorithm
from server.aggregation.fedavg import FedAvg
from server.aggregation.fedprox import FedProx

#: Plan name -> rule. A new rule is one file and one line here.
ALGORITHMS: Mapping[Aggregation, Callable[[FederationConfig], Algorithm]] = MappingProxyType(
    {Aggregation.FEDAVG: FedAvg, Aggregation.FEDPROX: FedProx}
)


def build_algorithm(config: FederationConfig) -> Algorithm:
    """The rule that a plan names."""
    return ALGORITHMS[config.aggregation](config)
