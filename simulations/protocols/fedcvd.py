"""The clients of FedCVD's Fed-ECHO, with official splits in place of a random one of videos."""

import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import PlanError
from simulations.protocols.institution import Institution

#: Client -> the data sets that it may be, of which one is there.
CLIENTS = {
    "CAMUS": ("camus", "camus_mhd"),
    "EchoNet-Dynamic": ("echonet_dynamic",),
    "HMC-QU": ("hmc_qu",),
}


class Fedcvd(Institution):
    """CAMUS, EchoNet-Dynamic and HMC-QU, each a site, A4C alone. Source: Zhang 2024, Fed-ECHO."""

    caveat = (
        "Sites are the three clients of FedCVD's Fed-ECHO (A4C), split by patient, with the "
        "official test sets of CAMUS and EchoNet-Dynamic in place of FedCVD's random 80/20 of "
        "videos; its task is segmentation, so no number here compares with its own. HMC-QU has no "
        "label of ours."
    )

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """The data set.

        Raises:
            PlanError: Other views or data sets take part, or one of the three is missing.
        """
        there = set(manifest["dataset"])
        missing = [name for name, sets in CLIENTS.items() if len(there & set(sets)) != 1]
        others = sorted(there - {name for sets in CLIENTS.values() for name in sets})
        if missing or others or config.views != ("A4C",):
            raise PlanError(
                "protocol fedcvd is of CAMUS (camus or camus_mhd), EchoNet-Dynamic and HMC-QU, "
                f"once each, with views = ['A4C']; the data hold {', '.join(sorted(there))}, and "
                f"protocol.views is {list(config.views)}: name the three in protocol.datasets, and "
                "set protocol.views."
            )
        return super().site_of(manifest, config, seed)
