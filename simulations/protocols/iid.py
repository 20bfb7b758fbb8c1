"""Synthetic sites that do not differ but by chance."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.dealt import Dealt, People, cut, shuffled


class Iid(Dealt):
    """Patients in a drawn order, as many at every site, but for one."""

    caveat = "Sites are SYNTHETIC (patients drawn alike): nothing here is institutional."

    def parts(
        self,
        manifest: pd.DataFrame,
        key: pd.Series,
        config: ProtocolConfig,
        rng: np.random.Generator,
    ) -> Sequence[Sequence[People]]:
        """All patients as one class."""
        shares = np.full(config.clients, 1 / config.clients)
        return [cut(shuffled(pd.Index(key.unique()), rng), shares)]
