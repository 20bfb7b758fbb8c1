"""The plan: everything that decides a run, as one validated, hashed document.

A plan is a TOML file. ``[machine]`` says where and with how many workers it runs and is not part
of the hash: the same plan gives the same bits on any number of workers (DESIGN.md, section 3).
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import Field, ValidationError, field_validator, model_validator

from echofm_core.data.config import DataConfig, Tmed2Form
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.models.config import ENCODER_SHAPES, ModelConfig, StfNetForm
from echofm_core.plan.complaints import complaint, unknown_word
from echofm_core.plan.section import Section
from echofm_core.privacy.config import PrivacyConfig, PrivacyKind
from echofm_core.privacy.options import check_options
from echofm_core.runtime.errors import PlanError
from echofm_core.tasks import VIEWS
from echofm_core.tracking.config import TrackerName
from echofm_core.training.config import FinetuneConfig, PretrainConfig, TuneMode

if TYPE_CHECKING:
    from echofm_core.contract import Phase  # it imports NumPy


class Aggregation(StrEnum):
    """How the server combines updates."""

    FEDAVG = "fedavg"
    FEDPROX = "fedprox"
    FEDADAM = "fedadam"
    MEDIAN = "median"


class Wire(StrEnum):
    """Number format of weights between server and site; sums are always in float32."""

    FP32 = "fp32"
    FP16 = "fp16"

    @property
    def dtype(self) -> str:
        """NumPy's name of it."""
        return {Wire.FP32: "float32", Wire.FP16: "float16"}[self]


class TrunkWeights(StrEnum):
    """How much each site counts in the mean of what all tasks share: encoder, adapters, STF-Net."""

    CLIPS = "clips"
    EQUAL = "equal"
    TASK_FAMILY = "task_family"


class Select(StrEnum):
    """Which round of a phase is handed on, tested and shipped."""

    LAST = "last"
    BEST = "best"


class FederationConfig(Section):
    """The ``[federation]`` table."""

    aggregation: Aggregation = Aggregation.FEDAVG
    """FedAvg (McMahan 2017); FedProx (Li 2020), whose sites are held near the global model;
    FedAdam (Reddi 2021), whose server takes a step of Adam along the sites' mean change; the
    coordinate-wise median (Yin 2018), in which all sites count alike."""
    proximal_mu: float = Field(default=0.01, ge=0)
    """FedProx: weight of 0.5 * mu * ||w - w_global||^2 in the site's loss."""
    server_learning_rate: float = Field(default=0.01, gt=0)
    """FedAdam: the server's learning rate; in a round a weight moves by up to about twice this."""
    server_beta1: float = Field(default=0.9, ge=0, lt=1)
    """FedAdam: decay, per round, of the mean of changes."""
    server_beta2: float = Field(default=0.99, ge=0, lt=1)
    """FedAdam: decay, per round, of the mean of squared changes."""
    server_tau: float = Field(default=1e-3, gt=0)
    """FedAdam: adaptivity; changes far below it move the weights in proportion to them."""
    weight_exponent: float = Field(default=1.0, ge=0, le=1)
    """A site counts with n ** exponent: 1 by size, 0 all alike."""
    trunk_weights: TrunkWeights = TrunkWeights.EQUAL
    """How a site counts in the shared trunk (encoder, adapters, STF-Net) while fine-tuning:
    ``equal``, all alike; ``clips`` as ``weight_exponent`` says, and so it is where a plan names
    that alone; ``task_family``, the clips of each family (EF, volumes and reduced EF; aortic
    stenosis; view) sum to one over the sites. A head, and all of pre-training, count by clips."""
    min_sites: int = Field(default=1, ge=1)
    """Usable updates a round needs; with fewer the run stops and can be resumed."""
    deadline_seconds: float = Field(default=3600.0, gt=0)
    """A round closes at this age with at least ``min_sites`` updates."""
    wire: Wire = Wire.FP32
    """Number format of weights on the wire."""
    max_update_norm: float = Field(default=0.0, ge=0)
    """Updates whose L2 distance from the global weights exceeds this are refused; 0: no bound."""
    select: Select = Select.LAST
    """Which round of each phase is handed on, tested and shipped: the last, or the ``best``, whose
    global model has the least validation loss (plain mean over the sites that report one; where
    none does, the last)."""
    report_validation: bool = True
    """Sites report the loss of the global model on their own validation patients, one number a
    round. Never under differential privacy."""
    validate_every: int = Field(default=1, ge=1)
    """Rounds from one validation to the next; the last round of a phase is always validated."""

    @model_validator(mode="before")
    @classmethod
    def _exponent_weighs_the_trunk(cls, values: Any) -> Any:
        """A plan that names an exponent, and not what it is for, means all groups."""
        if isinstance(values, dict) and "weight_exponent" in values:
            return {"trunk_weights": TrunkWeights.CLIPS, **values}
        return values

    @model_validator(mode="after")
    def _best_needs_validation(self) -> FederationConfig:
        if self.select is Select.BEST and not self.report_validation:
            raise ValueError(
                'select = "best" needs the validation loss of the sites, but report_validation is '
                "false: set one of them otherwise"
            )
        return self


class ProtocolName(StrEnum):
    """Named rules that turn manifests into sites and patient-disjoint splits."""

    INSTITUTION = "institution"
    QUALITY = "quality"
    VENDOR_MODEL = "vendor_model"
    DIRICHLET = "dirichlet"


class ProtocolConfig(Section):
    """The ``[protocol]`` table."""

    name: ProtocolName = ProtocolName.INSTITUTION
    """Which rule."""
    datasets: tuple[str, ...] = ()
    """Data sets that take part; empty means all that were found."""
    views: tuple[str, ...] = ()
    """Views that take part in fine-tuning and evaluation; empty means all."""
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of patients for validation where a data set has no official split."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of patients for test where a data set has no official split."""
    min_patients: int = Field(default=2, ge=1)
    """Smaller sites are an error (institution) or merged into ``other`` (device, quality)."""
    clients: int = Field(default=4, ge=2)
    """Dirichlet only: number of synthetic sites."""
    alpha: float = Field(default=0.5, gt=0)
    """Dirichlet only: concentration; small means strong label skew."""

    @field_validator("views")
    @classmethod
    def _are_views(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        for view in views:
            if view not in VIEWS:
                raise ValueError(unknown_word("view", view, VIEWS))
        return views

    @model_validator(mode="after")
    def _leaves_patients_to_train(self) -> ProtocolConfig:
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction {self.validation_fraction:g} and test_fraction "
                f"{self.test_fraction:g} leave no patient to train on"
            )
        return self


class MachineConfig(Section):
    """The ``[machine]`` table: where this runs. Not part of the plan's hash."""

    roots: tuple[str, ...] = ()
    """Folders with data sets as downloaded; relative to the plan file."""
    cache: str = ""
    """Folder of manifests and clip stores; default: ``cache`` in the run folder."""
    workers: int = Field(default=1, ge=1, le=256)
    """Simulation: sites trained at the same time, one process each."""
    threads: int = Field(default=1, ge=1)
    """CPU threads of one worker. Changing it may change the last bits."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` takes a GPU if there is one."""
    devices: int = Field(default=1, ge=1, le=64)
    """Devices that share each training batch, one process each: GPUs 0, 1 ... with ``cuda``, plain
    processes with ``cpu``. Changing it changes rounding only."""
    secret: str = ""
    """File that `echofm data secret` wrote: the key of the record of whom a model was trained on,
    which `echofm evaluate` reads. Relative to the plan file; without one, a throw-away key lies
    beside the record in the run folder."""
    start: str = ""
    """Folder of the weights that the encoder starts from, e.g. of `echofm model import`; relative
    to the plan file."""
    track: tuple[TrackerName, ...] = ()
    """Where each round's metrics go too. `tensorboard`: event files in the run folder. `mlflow`:
    the store of the environment variable MLFLOW_TRACKING_URI, else an SQLite file in the run
    folder. The extra of the same name installs it."""


class Plan(Section):
    """A whole run. Build one with :func:`load_plan`."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Short name, used in folder names and titles."""
    seed: int = 0
    """Seed of every random stream."""
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    finetune: FinetuneConfig = FinetuneConfig()
    federation: FederationConfig = FederationConfig()
    protocol: ProtocolConfig = ProtocolConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    machine: MachineConfig = MachineConfig()

    @model_validator(mode="after")
    def _fits_together(self) -> Plan:
        if self.data.size % self.model.patch:
            raise ValueError(
                f"data.size {self.data.size} is not a multiple of model.patch {self.model.patch}"
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
        rank, width = self.finetune.lora.rank, ENCODER_SHAPES[self.model.size].width
        if self.finetune.mode is TuneMode.LORA and rank > width:
            raise ValueError(
                f"finetune.lora.rank {rank} is above the encoder's width {width}: adapters would "
                "be larger than their layers"
            )
        if self.privacy.kind is not PrivacyKind.NONE:
            for phase in (self.pretrain, self.finetune):
                if phase.rounds:
                    check_options(phase)
            if self.federation.select is Select.BEST:
                raise ValueError(
                    'federation.select = "best" needs the validation loss of the sites, which is '
                    'not reported under differential privacy: set it to "last"'
                )
        if self.pretrain.rounds + self.finetune.rounds == 0:
            raise ValueError("pretrain.rounds and finetune.rounds are both 0: nothing to do")
        if self.finetune.rounds and not self.finetune.tasks:
            raise ValueError("finetune.tasks is empty: name a task, or set finetune.rounds to 0")
        dealt, least = self.protocol.clients, self.federation.min_sites
        if self.protocol.name is ProtocolName.DIRICHLET and dealt < least:
            raise ValueError(
                f"federation.min_sites is {least}, but protocol.clients makes {dealt} sites"
            )
        return self

    def table_of(self, phase: Phase) -> PretrainConfig | FinetuneConfig:
        """The table of a phase."""
        return self.pretrain if phase == "pretrain" else self.finetune

    def rounds_of(self, phase: Phase) -> int:
        """Rounds of a phase; 0: it is left out."""
        return self.table_of(phase).rounds

    @property
    def validates(self) -> bool:
        """Whether sites report the loss on their validation patients."""
        return self.federation.report_validation and self.privacy.kind is PrivacyKind.NONE

    def decisive(self) -> dict[str, Any]:
        """JSON-ready form of all that decides the result: everything but ``machine``."""
        return self.model_dump(mode="json", exclude={"machine"})

    def to_json(self) -> str:
        """Canonical JSON of the decisive part; this is what travels to the sites."""
        return json.dumps(self.decisive(), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of :meth:`to_json`, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_toml(self) -> str:
        """The resolved plan, machine table included, with every default spelled out."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def plan_from_mapping(values: dict[str, Any], source: str) -> Plan:
    """Validate a plan.

    Args:
        values: Parsed TOML or JSON.
        source: Where it came from, for the message.

    Raises:
        PlanError: One sentence a wrong key, all of them at once.
        PrivacyError: An option cannot be had together with privacy.
    """
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        complaints = "; ".join(complaint(item, Plan) for item in error.errors())
        raise PlanError(f"plan {source} is not valid: {complaints}.") from None


def plan_from_json(text: str, source: str = "from the server") -> Plan:
    """Read a plan as it travels (see :meth:`Plan.to_json`).

    Raises:
        PlanError: The text is not JSON or not a valid plan.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"plan {source} is not JSON ({error}).") from None
    if not isinstance(values, dict):
        raise PlanError(f"plan {source} is not a JSON object.")
    return plan_from_mapping(values, source)


def load_plan(path: Path) -> Plan:
    """Read and validate a TOML plan; relative ``machine`` folders become absolute.

    Raises:
        PlanError: The file is missing, not TOML, or not a valid plan.
        CheckpointError: ``machine.start`` holds no weights for this encoder.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlanError(f"plan {path} does not exist; `echofm demo` writes one to copy.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"plan {path} cannot be read as TOML ({error}).") from None
    plan = plan_from_mapping(values, str(path))
    base = path.resolve().parent
    places = {
        key: str(base / Path(folder).expanduser())
        for key in ("cache", "secret", "start")
        if (folder := getattr(plan.machine, key))
    }
    roots = tuple(str(base / Path(root).expanduser()) for root in plan.machine.roots)
    machine = plan.machine.model_copy(update={"roots": roots, **places})
    plan = plan.model_copy(update={"machine": machine})
    if not machine.start:
        return plan
    from echofm_core.models.checkpoints.start import pin_start

    return pin_start(plan)
