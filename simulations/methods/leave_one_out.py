"""The federation without each site in turn, tested at that site."""

from collections.abc import Mapping, Sequence

import pandas as pd

from echofm_core.evaluation.model_names import LEAVE_ONE_OUT
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Training
from simulations.methods._api import Method, Piece, Setting, Values
from simulations.methods.rules import tried_by


class LeaveOneOut(Method):
    """Both phases without a site, by the plan's own federation; a training a site left out."""

    name = Training.LEAVE_ONE_OUT.value
    words = "The plan's federation without each site in turn, both phases, tested at that site."

    def tried(self, plan: Plan) -> Sequence[Values]:
        """Of the key of the plan's rule."""
        return tried_by(plan.federation.aggregation)

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One federation for each site that others have labels for."""
        arms = [arm for arm in setting.starting("without:") if arm.model == LEAVE_ONE_OUT]
        return [setting.tuned(arm, setting.plan, setting.pretraining(arm)) for arm in arms]

    def models(self, found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Each site by the federation that has not seen it, as one row."""
        return {LEAVE_ONE_OUT: pd.concat(list(found.values()), ignore_index=True)}
