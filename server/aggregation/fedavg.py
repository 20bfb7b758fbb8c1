"""Federated averaging, and FedProx, whose sites are held near the global model."""

from collections.abc import Mapping

from echofm_core.contract import PROXIMAL_MU
from server.aggregation._api import Algorithm


class FedAvg(Algorithm):
    """Mean of the sites' models, each parameter group with its own weights (``Shares``).

    Base of all rules: nothing travels beside the model, and nothing is kept between rounds.

    Source: McMahan et al. 2017, Communication-Efficient Learning, algorithm 1.
    """


class FedProx(FedAvg):
    """FedAvg whose sites add ``0.5 * mu * ||w - w_global||^2`` to their loss.

    Source: Li et al. 2020, Federated Optimization in Heterogeneous Networks, algorithm 2.
    """

    def instruct(self, site: str = "") -> Mapping[str, float]:
        """The weight of the proximal term."""
        return {PROXIMAL_MU: self.config.proximal_mu}
