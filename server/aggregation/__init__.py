"""Aggregation rules, a file each: ``_api`` is the contract, ``shares`` the weights of sites."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from echofm_core.contract import Phase
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation._api import Algorithm
from server.aggregation.fedadam import FedAdam
from server.aggregation.fedavg import FedAvg
from server.aggregation.fedprox import FedProx
from server.aggregation.median import Median
from server.aggregation.scaffold import Scaffold
from server.aggregation.shares import Announced, Shares

Rule = Callable[[FederationConfig, Shares, Path | None], Algorithm]

#: Plan name -> rule. A new rule is one file, its name in the plan, and one line here.
ALGORITHMS: Mapping[Aggregation, Rule] = MappingProxyType(
    {
        Aggregation.FEDAVG: FedAvg,
        Aggregation.FEDPROX: FedProx,
        Aggregation.FEDADAM: FedAdam,
        Aggregation.SCAFFOLD: Scaffold,
        Aggregation.MEDIAN: Median,
    }
)


def build_algorithm(
    config: FederationConfig,
    announced: Announced = MappingProxyType({}),
    phase: Phase = Phase.FINETUNE,
    folder: Path | None = None,
) -> Algorithm:
    """The rule that a plan names.

    Args:
        config: The plan's table.
        announced: Site name -> parameter group -> clips that the site says it has, for every site
            that takes part; read where the trunk is weighted by task family.
        phase: What is trained.
        folder: Where a rule may put what is too large for memory; None: in the system's.
    """
    return ALGORITHMS[config.aggregation](config, Shares(config, announced, phase), folder)
