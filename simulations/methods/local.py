"""Each site alone: no weights and no data leave a site."""

from collections.abc import Mapping, Sequence

import pandas as pd

from echofm_core.evaluation.model_names import LOCAL
from echofm_core.plan.study import Training
from simulations.methods._api import Method, Piece, Setting, own_sites


class Local(Method):
    """Both phases at each site by itself."""

    name = Training.LOCAL.value
    words = (
        "Each site alone, both phases: its own model at its own patients; at sites that are never "
        "seen, each of these models is a row."
    )

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One training a site with labels, of as many steps as in the federation."""
        arms = setting.starting(LOCAL)
        return [setting.tuned(arm, setting.plan, setting.pretraining(arm)) for arm in arms]

    def models(self, found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Each site's model where it was tested, and all of them at home as one row."""
        return {self.name: own_sites(found, LOCAL), **found}
