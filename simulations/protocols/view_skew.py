"""Synthetic sites that differ in the share of views."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError
from simulations.protocols.dealt import Dealt, People, skewed
from simulations.protocols.grouped import commonest


class ViewSkew(Dealt):
    """Patients of each view are spread over the sites by Dirichlet(``alpha``).

    A patient's view is that of most clips; patients are whole, so where each has all views equally
    (CAMUS) no site can differ, and the rule refuses.
    """

    caveat = (
        "Sites are SYNTHETIC (Dirichlet skew of the views that most of a patient's clips show): "
        "nothing here is institutional."
    )

    def parts(
        self,
        manifest: pd.DataFrame,
        key: pd.Series,
        config: ProtocolConfig,
        rng: np.random.Generator,
    ) -> Sequence[Sequence[People]]:
        """A patient without any view is of a class of its own.

        Raises:
            EmptySiteError: All patients would be of one class.
        """
        views = commonest(manifest["view"], key).fillna("").groupby(key).first().sort_index()
        if views.nunique() < 2:
            shown = views.iloc[0] or "an unknown view"
            raise EmptySiteError(
                "protocol view_skew needs patients of different views; most clips of every "
                f"patient show {shown}: use another protocol, or add data of other views."
            )
        return skewed(views, config, rng)
