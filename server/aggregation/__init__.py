"""Aggregation rules, a file each: ``_api`` is the contract, ``shares`` the weights of sites.

What :data:`__all__` names is there for rules outside the package (docs/how-to/own-rule.md).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from echofm_core.contract import Phase
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation._api import Algorithm, Fold, State, WeightedMean, chunks
from server.aggregation.fedadagrad import FedAdagrad
from server.aggregation.fedadam import FedAdam
from server.aggregation.fedavgm import FedAvgM
from server.aggregation.fednova import FedNova
from server.aggregation.fedprox import FedProx
from server.aggregation.fedyogi import FedYogi
from server.aggregation.krum import Krum
from server.aggregation.median import Median
from server.aggregation.on_disk import DiskArrays, EveryReply
from server.aggregation.qfedavg import QFedAvg
from server.aggregation.scaffold import Scaffold
from server.aggregation.shares import Announced, Shares
from server.aggregation.trimmed_mean import TrimmedMean

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "DiskArrays",
    "EveryReply",
    "Fold",
    "Shares",
    "State",
    "WeightedMean",
    "build_algorithm",
    "chunks",
]

#: Plan name -> rule; ``custom`` is a user's file. A new rule is one file, its name in the plan, and
#: one line here.
ALGORITHMS: Mapping[Aggregation, type[Algorithm]] = MappingProxyType(
    {
        Aggregation.FEDAVG: Algorithm,
        Aggregation.FEDPROX: FedProx,
        Aggregation.FEDADAM: FedAdam,
        Aggregation.FEDYOGI: FedYogi,
        Aggregation.FEDADAGRAD: FedAdagrad,
        Aggregation.FEDAVGM: FedAvgM,
        Aggregation.SCAFFOLD: Scaffold,
        Aggregation.FEDNOVA: FedNova,
        Aggregation.QFEDAVG: QFedAvg,
        Aggregation.MEDIAN: Median,
        Aggregation.TRIMMED_MEAN: TrimmedMean,
        Aggregation.KRUM: Krum,
    }
)


def build_algorithm(
    config: FederationConfig,
    announced: Announced = MappingProxyType({}),
    phase: Phase = Phase.FINETUNE,
    folder: Path | None = None,
    own: type[Algorithm] | None = None,
) -> Algorithm:
    """The rule that a plan names.

    Args:
        config, folder: As of :class:`Algorithm`.
        announced: Of every site that takes part; read where the trunk is weighted by task family.
        phase: What is trained.
        own: The user's rule, from :func:`~server.aggregation.own_rule.own_rule`, if it is that.
    """
    return (own or ALGORITHMS[config.aggregation])(config, Shares(config, announced, phase), folder)
