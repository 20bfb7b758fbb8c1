"""FedProx: federated averaging whose sites are held near the global model."""

from collections.abc import Mapping

from echofm_core.contract import PROXIMAL_MU
from server.aggregation._api import Algorithm


class FedProx(Algorithm):
    """FedAvg whose sites add ``0.5 * mu * ||w - w_global||^2`` to their loss.

    Source: Li et al. 2020, Federated Optimization in Heterogeneous Networks, algorithm 2.
    """

    def instruct(self, site: str = "") -> Mapping[str, float]:
        """The weight of the proximal term."""
        return {PROXIMAL_MU: self.config.proximal_mu}
