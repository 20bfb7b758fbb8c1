"""The federation without pre-training, all else equal."""

from collections.abc import Sequence
from dataclasses import replace

from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Training
from echofm_core.runtime.errors import PlanError
from simulations.methods._api import Method, Piece, Setting, Values
from simulations.methods.rules import tried_by


class NoPretraining(Method):
    """The plan's federation from the weights that the plan itself begins with."""

    name = Training.NO_PRETRAINING.value
    words = "The plan's federation without pre-training, all else equal."

    def tried(self, plan: Plan) -> Sequence[Values]:
        """Of the key of the plan's rule."""
        return tried_by(plan.federation.aggregation)

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One federation.

        Raises:
            PlanError: The plan has no pre-training.
        """
        if not setting.plan.pretrain.rounds:
            raise PlanError("the plan has no pre-training, so there is no other model without it.")
        arm = replace(setting.arms[FEDERATED], name=self.name, model=self.name)
        return (setting.tuned(arm, setting.plan, None),)
