"""Federations in which each site is tested with a model that is its own, in part or as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from echofm_core.contract import Scored
from echofm_core.plan.document import Plan
from echofm_core.plan.study import Training
from echofm_core.runtime.errors import PlanError
from echofm_core.training.personal import LocalGroup, PersonalConfig
from simulations.methods._api import Federated, Piece, Setting, Values, each
from simulations.methods.rules import tried_by

Keys = Mapping[str, Any]
#: Strength of Ditto, and last steps, where the plan names none and has no number to go by.
DITTO, LAST_STEPS = 0.1, 20
_FEDPER = {"groups": [LocalGroup.HEADS.value, LocalGroup.STF_NET.value]}


class Personal(Federated):
    """The plan's federation with a ``[personal]`` table.

    Args:
        name: Of the method.
        words: What it is.
        source: Paper and section.
        keys: Of the table, from the plan; its other keys are at their defaults.
        tested: Which of a site's models is the method's; "": what the site is tested with.
        tried: What a study tries of its own key; left out: of the key of the plan's rule.
    """

    def __init__(
        self,
        name: Training,
        words: str,
        source: str,
        keys: Callable[[Plan], Keys],
        tested: str = "",
        tried: Callable[[Plan], Sequence[Values]] | None = None,
    ) -> None:
        self.name, self.words, self.source = name.value, words, source
        self._keys, self._tested, self._tried = keys, tested, tried

    def tables(self, plan: Plan) -> Mapping[str, Mapping[str, Any]]:
        """The table."""
        return {"personal": {**PersonalConfig().model_dump(mode="json"), **self._keys(plan)}}

    def tried(self, plan: Plan) -> Sequence[Values]:
        """Of its own key, if it has one."""
        return self._tried(plan) if self._tried else tried_by(plan.federation.aggregation)

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One federation, and which of its sites' models is the method's."""
        (piece,) = super().pieces(setting)
        return (replace(piece, arm=replace(piece.arm, tested=self._tested)),)


def _fedrep(plan: Plan) -> Keys:
    """Half of the steps where the plan does not say.

    Raises:
        PlanError: A round has no step for what stays and another one for the rest: it is FedPer.
    """
    tuning = plan.finetune
    if tuning.local_steps < 2:
        raise PlanError(
            "fedrep needs 2 steps in a round, one for what stays and one for the rest, but "
            f"finetune.local_steps is {tuning.local_steps}: set it in place of local_epochs, or "
            "compare with fedper."
        )
    steps = plan.personal.alternate_steps or tuning.local_steps // 2
    return {**_FEDPER, "alternate_steps": steps}


def _alternations(plan: Plan) -> Sequence[Values]:
    """A quarter, three quarters and half of the steps of a round."""
    steps = plan.finetune.local_steps
    return each("personal.alternate_steps", (max(1, steps // 4), steps - steps // 4, steps // 2))


def _last_step(plan: Plan) -> Keys:
    """The plan's own, or as many steps as a round."""
    asked = plan.personal
    return {
        "last_steps": asked.last_steps or plan.finetune.local_steps or LAST_STEPS,
        "last_groups": asked.last_groups.value,
        "last_learning_rate": asked.last_learning_rate,
    }


PERSONAL = (
    Personal(
        Training.FEDPER,
        "FedPer: STF-Net and heads stay at each site, the encoder alone is averaged.",
        "Arivazhagan et al. 2019, Federated Learning with Personalization Layers, algorithm 1",
        lambda plan: _FEDPER,
    ),
    Personal(
        Training.FEDREP,
        "FedRep: as FedPer; in each round what stays is trained first, then the encoder.",
        "Collins et al. 2021, Exploiting Shared Representations, algorithm 1",
        _fedrep,
        tried=_alternations,
    ),
    Personal(
        Training.LOCAL_NORMS,
        "Local normalisation: layer norms of encoder and STF-Net stay at each site.",
        "Li et al. 2021, FedBN, algorithm 1, of layer norms in place of batch norms",
        lambda plan: {"groups": [LocalGroup.NORMS.value]},
    ),
    Personal(
        Training.DITTO,
        "Ditto: beside FedAvg a model of each site's own, held near the global one.",
        "Li et al. 2021, Ditto, algorithm 1",
        lambda plan: {"ditto": plan.personal.ditto or DITTO},
        tested=Scored.PERSONAL.value,
        # The paper: from {0.1, 1, 2}, or {0.05, 0.1, 0.2} against strong attacks, by validation.
        tried=lambda plan: each("personal.ditto", (1.0, 2.0, 0.05, 0.2, 0.1)),
    ),
    Personal(
        Training.LAST_STEP,
        "The plan's federation, then a few steps at each site on its own training patients.",
        "Yu et al. 2020, Salvaging Federated Learning by Local Adaptation, section 3",
        _last_step,
        tested=Scored.LAST_STEP.value,
        # The rate of these steps alone: half powers of ten around the default.
        tried=lambda plan: each("personal.last_learning_rate", (1e-3, 1e-5, 3e-4, 3e-5, 1e-4)),
    ),
)
