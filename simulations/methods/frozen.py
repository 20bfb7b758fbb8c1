"""The pre-trained encoder as it is, and at each site what it learns on top of it by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from echofm_core.evaluation.model_names import FEDERATED, LOCAL
from echofm_core.plan.study import Training
from echofm_core.training.config import TuneMode
from simulations.arms import Arm
from simulations.methods._api import Method, Piece, Setting, changed, own_sites

PREFIX = "frozen:"


class Frozen(Method):
    """STF-Net and heads of each site on the frozen encoder that the sites pre-trained together.

    At a site that is never seen there are no such heads, and no score.
    """

    name = Training.FROZEN.value
    words = (
        "The encoder frozen as pre-trained by the federation; STF-Net and heads of each site on "
        "it, without any federation of labels."
    )

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One training a site with labels, all on one encoder."""
        plan = changed(setting.plan, finetune={"mode": TuneMode.STF_PROBE.value})
        start = setting.pretraining(setting.arms[FEDERATED])
        return [
            setting.tuned(_own(arm), plan, start)
            for arm in setting.starting(LOCAL)
            if arm.train[0] in arm.test
        ]

    def models(self, found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Each site's model at home, as one row."""
        return {self.name: own_sites(found, PREFIX)}


def _own(arm: Arm) -> Arm:
    """The arm of a site alone, under another name, tested at home only."""
    (site,) = arm.train
    return replace(arm, name=f"{PREFIX}{site}", model=Training.FROZEN.value, test=(site,))
