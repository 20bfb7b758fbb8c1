"""The plan: everything that decides a run, as one validated, hashed document.

``[machine]`` says where and with how many workers it runs and is not part of the hash: the same
plan gives the same bits on any number of workers. Nor is ``[study]``, which says what else is
trained to compare with.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar

import tomli_w
from pydantic import (
    Field,
    model_validator,
)

from echofm_core.data.config import DataConfig, Tmed2Form
from echofm_core.evaluation.config import Baseline, EvaluationConfig
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig, StfNetForm
from echofm_core.plan.federation import Aggregation, FederationConfig, Select
from echofm_core.plan.machine import MachineConfig
from echofm_core.plan.protocol import SYNTHETIC, ProtocolConfig
from echofm_core.plan.section import Section
from echofm_core.plan.study import StudyConfig
from echofm_core.privacy.config import PrivacyConfig, PrivacyKind
from echofm_core.privacy.options import check_options
from echofm_core.runtime.names import PLAIN_NAME
from echofm_core.training.config import FinetuneConfig, PretrainConfig, TuneMode
from echofm_core.training.personal import PersonalConfig, personal_fault

if TYPE_CHECKING:
    from echofm_core.contract import Phase  # it imports NumPy


#: Tables that do not decide what a run ends with.
NOT_DECISIVE = {"machine", "study"}


class Plan(Section):
    """A whole run. Build one with :func:`load_plan`."""

    later: ClassVar = frozenset({"personal"})

    name: str = Field(default="run", pattern=f"^{PLAIN_NAME}$")
    """Short name, used in folder names and titles."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of every random stream."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    personal: PersonalConfig = PersonalConfig()
    federation: FederationConfig = FederationConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    study: StudyConfig = StudyConfig()
    machine: MachineConfig = MachineConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Plan:
        if self.data.size % self.model.patch:
            raise ValueError(
                f"data.size {self.data.size} is not a multiple of model.patch {self.model.patch}"
            )
        if self.pretrain.cell and self.model.patch % self.pretrain.cell:
            raise ValueError(
                f"pretrain.cell {self.pretrain.cell} does not divide model.patch {self.model.patch}"
            )
        if self.data.frames % self.model.tubelet:
            raise ValueError(
                f"data.frames {self.data.frames} is not a multiple of "
                f"model.tubelet {self.model.tubelet}"
            )
        if self.data.tmed2.form is Tmed2Form.BAG and self.model.stf_net is not StfNetForm.BAG:
            raise ValueError(
                f"data.tmed2.form is bag, but model.stf_net is {self.model.stf_net.value}: set it "
                "to bag too, or choose images"
            )
        self._check_adapters()
        private = self.privacy.kind is not PrivacyKind.NONE
        best = self.federation.select is Select.BEST
        if fault := personal_fault(self.personal, self.finetune, private=private, best=best):
            raise ValueError(fault)
        if private:
            self._check_private()
        if self.pretrain.rounds + self.finetune.rounds == 0:
            raise ValueError("pretrain.rounds and finetune.rounds are both 0: nothing to do")
        if self.finetune.rounds and not self.finetune.tasks:
            raise ValueError("finetune.tasks is empty: name a task, or set finetune.rounds to 0")
        self._check_left_out()
        unseen, least = set(self.protocol.unseen), self.federation.min_sites
        dealt = self.protocol.clients - len(unseen)
        if self.protocol.name in SYNTHETIC and dealt < least:
            raise ValueError(
                f"federation.min_sites is {least}, but protocol.clients makes {dealt} sites"
                f"{' besides those of protocol.unseen' if unseen else ''}"
            )
        return self

    def _check_adapters(self) -> None:
        width = ENCODER_SHAPES[self.model.size].width
        own, shared = self.personal.lora_rank, self.finetune.lora.rank
        for key, rank in (("finetune.lora.rank", shared), ("personal.lora_rank", own)):
            if self.finetune.mode is TuneMode.LORA and rank > width:
                raise ValueError(
                    f"{key} {rank} is above the encoder's width {width}: adapters would "
                    "be larger than their layers"
                )
        rule = self.federation.aggregation
        if self.finetune.exact_adapters and rule not in (Aggregation.FEDAVG, Aggregation.FEDPROX):
            raise ValueError(
                f"finetune.lora.averaging is exact, but federation.aggregation is {rule}: the mean "
                "is exact where the server takes the plain mean of the sites; choose fedavg or "
                'fedprox, or averaging = "separate", or freeze_a = true'
            )

    def _check_private(self) -> None:
        if self.federation.aggregation is Aggregation.SCAFFOLD:
            raise ValueError(
                f"federation.aggregation is scaffold, but privacy.kind is {self.privacy.kind}: "
                "control variates are means of a site's gradients without noise; choose "
                "another rule"
            )
        if self.federation.aggregation is Aggregation.QFEDAVG:
            raise ValueError(
                f"federation.aggregation is qfedavg, but privacy.kind is {self.privacy.kind}: "
                "it weighs sites by the exact loss of their patients, in which there is no "
                "noise; choose another rule"
            )
        for phase in (self.pretrain, self.finetune):
            if phase.rounds:
                check_options(phase, self.machine)
        if self.federation.select is Select.BEST:
            raise ValueError(
                'federation.select = "best" needs the validation loss of the sites, which is '
                'not reported under differential privacy: set it to "last"'
            )

    def _check_left_out(self) -> None:
        if self.protocol.unlabelled_target and not self.pretrain.rounds:
            raise ValueError(
                "protocol.unlabelled_target lets clips into pre-training, but pretrain.rounds is 0"
            )
        if not self.evaluation.few_shot:
            return
        if self.privacy.kind is not PrivacyKind.NONE:
            raise ValueError(
                "evaluation.few_shot fine-tunes on a few patients, whom no noise that leaves a "
                'model of use can hide: set privacy.kind = "none", or few_shot = []'
            )
        if not (self.protocol.unseen or Baseline.LEAVE_ONE_OUT in self.evaluation.baselines):
            raise ValueError(
                "evaluation.few_shot is of sites that no model has seen, and the plan has none: "
                "add leave_one_out to evaluation.baselines, or name a site in protocol.unseen"
            )

    def table_of(self, phase: Phase) -> PretrainConfig | FinetuneConfig:
        """The table of a phase."""
        return self.pretrain if phase == "pretrain" else self.finetune

    def rounds_of(self, phase: Phase) -> int:
        """Rounds of a phase; 0: it is left out."""
        return self.table_of(phase).rounds

    @property
    def rounds(self) -> dict[str, int]:
        """Rounds of each phase, by its name."""
        return {"pretrain": self.pretrain.rounds, "finetune": self.finetune.rounds}

    @property
    def validates(self) -> bool:
        """Whether sites report the loss on their validation patients."""
        return self.federation.report_validation and self.privacy.kind is PrivacyKind.NONE

    @property
    def watches_features(self) -> bool:
        """Whether sites report numbers on the features of the encoder that they pre-train."""
        watched = self.pretrain.watch_patients or self.pretrain.probe_patients
        return bool(watched) and self.privacy.kind is PrivacyKind.NONE

    def run_name(self) -> str:
        """Name of its state folder at each site: two plans never share one."""
        return f"{self.name}-{self.digest()[:8]}"

    def decisive(self) -> dict[str, Any]:
        """JSON-ready form of all that decides the result: all but ``machine`` and ``study``."""
        return self.model_dump(mode="json", exclude=NOT_DECISIVE)

    def to_json(self) -> str:
        """Canonical JSON of the decisive part; this is what travels to the sites."""
        return json.dumps(self.decisive(), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of :meth:`to_json`, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_shared_toml(self) -> str:
        """The decisive part as a plan file: for others to read; it has the same digest."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude=NOT_DECISIVE, exclude_none=True))

    def to_toml(self) -> str:
        """The resolved plan, machine table included, with every default spelled out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
