"""Synthetic sites with controlled label skew: patients dealt out by a Dirichlet draw."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from simulations.protocols.dealt import Dealt, People, skewed

#: Edges of the EF classes that are skewed, in percent.
EF_BINS = (30.0, 40.0, 50.0, 60.0)


class Dirichlet(Dealt):
    """Each label class is spread over the sites by Dirichlet(``alpha``).

    Source: Hsu 2019, with EF bins, AS grades or AS classes as classes.
    """

    caveat = "Sites are SYNTHETIC (Dirichlet label skew): nothing here is institutional."

    def parts(
        self,
        manifest: pd.DataFrame,
        key: pd.Series,
        config: ProtocolConfig,
        rng: np.random.Generator,
    ) -> Sequence[Sequence[People]]:
        """A patient's class is the highest of its clips."""
        return skewed(_label_class(manifest).groupby(key).max().sort_index(), config, rng)


def _label_class(manifest: pd.DataFrame) -> pd.Series:
    """One integer class a row: EF bin, else 10 + AS grade, else 20 + AS class, else 99."""
    ef = manifest["ef"].astype("Float64")
    binned = pd.Series(
        np.digitize(ef.fillna(0.0).to_numpy(dtype=float), EF_BINS), index=manifest.index
    )
    grade = (manifest["as_grade"] + 10).fillna(manifest["as_class"] + 20).fillna(99).astype(int)
    return binned.where(ef.notna(), grade).astype(int)
