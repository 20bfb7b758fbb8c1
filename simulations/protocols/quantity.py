"""Synthetic sites that differ in size alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.dealt import Dealt, People, cut, shuffled


class Quantity(Dealt):
    """Patients in a drawn order; the logarithm of a site's size is normal, by ``spread``."""

    caveat = (
        "Sites are SYNTHETIC (log-normal sizes, patients drawn alike): nothing here is "
        "institutional."
    )

    def parts(
        self,
        manifest: pd.DataFrame,
        key: pd.Series,
        config: ProtocolConfig,
        rng: np.random.Generator,
    ) -> Sequence[Sequence[People]]:
        """All patients as one class."""
        sizes = np.exp(config.spread * rng.standard_normal(config.clients))
        return [cut(shuffled(pd.Index(key.unique()), rng), sizes / sizes.sum())]
