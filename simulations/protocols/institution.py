"""Natural sites: the data set, or the hospital where a release names several."""

import pandas as pd

from echofm_core.data.patients import archives
from echofm_core.plan.protocol import ProtocolConfig


class Institution:
    """Shift of population, device, protocol and label method all at once."""

    caveat = (
        "Sites are institutions. EF is measured in different ways (monoplane Simpson at "
        "EchoNet-Dynamic, biplane and rounded at CAMUS), so read the bias of each site too."
    )
    synthetic = False

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """The hospital that the release names, else the archive that the data set is of."""
        return manifest["site"].fillna(archives(manifest))
