"""All data in one place: what a federation is to come close to."""

from collections.abc import Sequence

from echofm_core.evaluation.model_names import POOLED
from echofm_core.plan.study import Training
from simulations.methods._api import Method, Piece, Setting


class Pooled(Method):
    """Both phases on the data of all sites that train, as one site's."""

    name = Training.POOLED.value
    words = "All data in one place, as many steps as all sites together."
    moves_data = True

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One training."""
        arm = setting.arms[POOLED]
        return (setting.tuned(arm, setting.plan, setting.pretraining(arm)),)
