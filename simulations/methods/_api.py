"""What a method of a study is: which trainings it needs, and which models it makes of them.

A training is a :class:`Piece`: an arm (who trains, who is tested), the plan that it is trained by,
and the piece whose weights it begins with. Two pieces of one key are trained once, whichever
methods need them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from echofm_core.contract import Phase
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.section import Section
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.text import many
from echofm_core.training.personal import PersonalConfig
from simulations.arms import Arm

#: A setting: ``TABLE.KEY`` -> value, in place of the plan's.
Values = Mapping[str, float]

#: Before the name of what an arm is pre-trained by: ``pretraining:federated``.
PRETRAINING = "pretraining:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """One training of a study, with all that decides what it ends with but the data.

    Attributes:
        arm: Who trains, and who is tested; its own changes of a plan are in ``plan`` already.
        plan: One phase of it is trained.
        start: Pre-training whose weights it begins with; None: those of the plan.
    """

    arm: Arm
    plan: Plan
    start: Piece | None = None

    def key(self, data: str) -> str:
        """SHA-256, in hex, of all that decides it; ``data`` is the hash of sites and splits."""
        start = self.start.key(data) if self.start else ""
        tasks = [task.value for task in self.arm.tasks]
        given = dict(self.arm.given)
        words = [self.plan.digest(), self.arm.train, given, self.arm.test, tasks, start, data]
        # What is kept of a training is the predictions of one of the models that its sites have.
        words += [self.arm.tested] if self.arm.tested else []
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()

    @property
    def exchanges(self) -> bool:
        """Whether its rounds carry weights between sites."""
        return len(self.arm.train) > 1


@dataclass(frozen=True, slots=True)
class Setting:
    """What methods choose from: the plan of one seed, and who can train on its data.

    Attributes:
        plan: Of one seed, both phases.
        arms: Name -> arm of :func:`simulations.arms.plan_arms`, with every baseline.
        encoder: Whose pre-training it is, where that differs in what pre-training does not read.
        values: Fine-tuning's in place of the plan's and of the method's own: what a study tries,
            and what it has chosen. Pre-training does not read them.
    """

    plan: Plan
    arms: Mapping[str, Arm]
    encoder: Plan | None = None
    values: Values = field(default_factory=dict)

    def pretraining(self, arm: Arm) -> Piece | None:
        """Pre-training at the sites of an arm, by the plan's own federation; None without any.

        All methods whose arms train at the same sites begin with the same encoder.
        """
        if not self.plan.pretrain.rounds:
            return None
        own = replace(arm, name=f"{PRETRAINING}{arm.name}", test=(), tasks=())
        return Piece(
            arm=own, plan=_phase_alone(self._of(arm, self.encoder or self.plan), Phase.PRETRAIN)
        )

    def tuned(self, arm: Arm, plan: Plan, start: Piece | None) -> Piece:
        """Fine-tuning at the sites of an arm by a plan, which is this one or one changed.

        Under differential privacy both phases are one piece, since one budget pays for both: noise
        is calibrated to the steps of a whole plan.

        Raises:
            PlanError: Then, if it begins with what other sites have pre-trained.
        """
        whole = self._of(arm, self._with_values(arm, plan))
        if plan.privacy.kind is PrivacyKind.NONE or start is None:
            return Piece(arm=arm, plan=_phase_alone(whole, Phase.FINETUNE), start=start)
        if start.arm.train != arm.train:
            raise PlanError(
                f"{arm.name} begins with what {many(len(start.arm.train), 'site')} have "
                "pre-trained, and with differential privacy one budget pays for both phases."
            )
        return Piece(arm=arm, plan=whole)

    def starting(self, prefix: str) -> list[Arm]:
        """Arms whose name begins so, by name."""
        return [arm for name, arm in sorted(self.arms.items()) if name.startswith(prefix)]

    def _with_values(self, arm: Arm, plan: Plan) -> Plan:
        """A plan with these values; a federation of one site has none of a federation's."""
        tables: dict[str, dict[str, float]] = {}
        for key, value in self.values.items():
            table, _, name = key.partition(".")
            if len(arm.train) > 1 or table == Phase.FINETUNE:
                tables.setdefault(table, {})[name] = value
        return changed(plan, **tables) if tables else plan

    def _of(self, arm: Arm, plan: Plan) -> Plan:
        """An arm's plan; of one site the rule of averaging changes nothing, so that it is FedAvg's.

        What is compared, and how sure one is, decides no weights: it is left out.
        """
        plain = {"aggregation": Aggregation.FEDAVG.value}
        plan = plan if len(arm.train) > 1 else changed(plan, federation=plain)
        evaluation = EvaluationConfig(baselines=())
        return arm.plan(plan.model_copy(update={"evaluation": evaluation}))


class Method(ABC):
    """A row of a study's table.

    Attributes:
        name: As a plan and a command name it.
        words: What it is, in one sentence.
        source: Paper and section; empty where there is none to name.
        sends_models: Whether each site's model leaves it once, beside what rounds carry.
        moves_data: Whether the data themselves leave their sites.
    """

    name: str
    words: str
    source: str = ""
    sends_models: bool = False
    moves_data: bool = False

    @abstractmethod
    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """The trainings whose predictions it is made of; names of arms are unique among them.

        Raises:
            PlanError: It cannot be had with this plan; the sentence says why.
        """

    def tried(self, plan: Plan) -> Sequence[Values]:
        """Settings of its own keys that a study may try, the most likely first; none by default.

        Behind them come learning rates of fine-tuning, which every method has
        (:mod:`simulations.study.candidates`). Those that are no plan, or the plan's own, are left
        out there.
        """
        return ()

    def models(self, found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Model's name -> its predictions.

        Args:
            found: Arm's name -> rows of :func:`echofm_core.training.predict.predict` of its piece.
        """
        ((_, rows),) = found.items()
        return {self.name: rows}


class Federated(Method):
    """A method that is the plan's federation with other values in some of its tables."""

    def tables(self, plan: Plan) -> Mapping[str, Mapping[str, Any]]:
        """Table -> keys that differ, for :func:`changed`."""
        return {}

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One federation over all sites that train."""
        arm = setting.arms[FEDERATED]
        own = replace(arm, name=self.name, model=self.name)
        plan = changed(setting.plan, **self.tables(setting.plan))
        return (setting.tuned(own, plan, setting.pretraining(arm)),)


def changed(plan: Plan, **tables: Mapping[str, Any]) -> Plan:
    """A plan with other values of some keys, validated as a whole.

    Raises:
        PlanError: These values do not go with the rest of the plan.
    """
    values = plan.decisive()
    for table, keys in tables.items():
        values[table] = {**values.get(table, {}), **keys}  # a table of defaults is left out
    found = plan_from_mapping(values, f"{plan.name}, changed in {', '.join(tables)},")
    return found.model_copy(update={"machine": plan.machine})


def each(key: str, values: Iterable[float]) -> list[Values]:
    """Settings of one key."""
    return [{key: value} for value in values]


def _phase_alone(plan: Plan, phase: Phase) -> Plan:
    other = Phase.FINETUNE if phase is Phase.PRETRAIN else Phase.PRETRAIN
    tables: dict[str, Section] = {
        other.value: plan.table_of(other).model_copy(update={"rounds": 0})
    }
    if phase is Phase.PRETRAIN:
        tables["personal"] = PersonalConfig()
    return plan.model_copy(update=tables)


def own_sites(found: Mapping[str, pd.DataFrame], prefix: str) -> pd.DataFrame:
    """Each site's rows by the model of that site alone, whose arm is the prefix and its name."""
    parts = [rows[rows["site"] == name.removeprefix(prefix)] for name, rows in found.items()]
    return pd.concat(parts, ignore_index=True)
