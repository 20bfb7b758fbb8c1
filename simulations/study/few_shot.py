"""Fine-tuning on a few patients of sites never seen, as trainings of a study.

Of the method that others are compared with at the sites of ``protocol.unseen``, and of
``leave_one_out`` at each site left out. Each begins with the method's own model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Training
from simulations.arms import Arm
from simulations.few_shot import FewShot, plan_shots, save_patients
from simulations.methods._api import Piece


@dataclass(frozen=True, slots=True)
class Shot:
    """A model on some patients of a site: fine-tuned on them, or with none as it is.

    Attributes:
        few: Which patients; its base is named as in a run of the plan alone.
        piece: Its training; of no patients that of the model.
    """

    few: FewShot
    piece: Piece

    @property
    def name(self) -> str:
        """As tables over seeds know it: ``federated shots:SITE:COUNT``."""
        return f"{self.few.base.name} {self.few.arm.name}"

    @property
    def base(self) -> Piece | None:
        """The training of the model that is fine-tuned."""
        return self.piece.start if self.few.shots else self.piece


def shots_of(
    plan: Plan, manifest: pd.DataFrame, arms: Mapping[str, Arm], bases: Mapping[str, Piece]
) -> tuple[list[Shot], list[str]]:
    """All that a plan asks for, and a sentence for each site with too few patients for some.

    Args:
        plan, manifest, arms: As of :class:`simulations.methods._api.Setting`.
        bases: Name of an arm -> training of the model that has not seen a site.
    """
    shots, notes = plan_shots(manifest, plan, [arms[name] for name in bases])
    return [Shot(few, _piece(few, plan, bases[few.base.name])) for few in shots], notes


def _piece(few: FewShot, plan: Plan, base: Piece) -> Piece:
    if not few.shots:
        return base
    evaluation = EvaluationConfig(baselines=())  # it decides no weights
    own = few.plan(plan).model_copy(update={"evaluation": evaluation})
    return Piece(arm=few.arm, plan=own, start=base)


def save_shots(shots: Sequence[Shot], manifest: pd.DataFrame, run: Path) -> None:
    """Write the manifests that these trainings train by."""
    for shot in shots:
        if shot.few.shots:
            save_patients(shot.few, manifest, run)


def bases_of(methods: Sequence[tuple[str, Sequence[Piece]]], reference: str) -> dict[str, Piece]:
    """The trainings whose models have not seen a site, by the name that a run gives their arms."""
    found = {}
    for name, pieces in methods:
        if name == reference:
            found[FEDERATED] = pieces[0]
        if name == Training.LEAVE_ONE_OUT:
            found |= {piece.arm.name: piece for piece in pieces}
    return found
