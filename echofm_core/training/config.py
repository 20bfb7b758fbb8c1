"""How a site trains in each phase, and how its machine computes that.

Counted in global rounds, so that a federation is one run. Apart from what does it, so that plans
load quickly.
"""

import math
from enum import StrEnum
from typing import Any, ClassVar, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from echofm_core.models.config import AdapterAveraging, LoraConfig
from echofm_core.plan.section import Section
from echofm_core.tasks import CLASS_NAMES, STANDARDISATION, TASKS, Task, TaskKind
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.stages import Stage, Target

#: Patients with an EF below which no probe is fitted.
LEAST_PROBED = 8


class Precision(StrEnum):
    """Number format of matrix products: bfloat16 on CUDA and float32 on a CPU, or one of them."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class PhaseConfig(Section):
    """What both phases share."""

    rounds: int = Field(default=10, ge=0, le=100_000)
    """Global rounds of this phase; 0 skips it."""
    local_steps: int = Field(default=0, ge=0, le=1_000_000)
    """Optimizer steps of a round, as many at every site, however many clips it has: batches go on
    where the round before ended, pass after pass. 0: as many as ``local_epochs`` take."""
    local_epochs: int = Field(default=1, ge=1, le=10_000)
    """Passes over the site's training clips in a round, in place of ``local_steps``: a site with
    more clips takes more steps."""
    batch_size: int = Field(default=16, ge=1, le=65_536)
    """Windows of one optimizer step."""
    learning_rate: float = Field(default=5e-4, gt=0, le=10)
    """Peak rate of AdamW."""
    warmup_rounds: float = Field(default=1.0, ge=0, le=100_000)
    """Linear warm-up, in global rounds; cosine to zero after it, over the whole phase."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor on the rate from each encoder block to the one below it, down to the patch embedding;
    all else trains at the full rate. 1: all alike."""
    weight_decay: float = Field(default=0.05, ge=0, le=100)
    """AdamW's weight decay; none on biases, norms and tokens."""
    clip_gradient: float = Field(default=1.0, ge=0, le=1e9)
    """Largest gradient norm; 0 switches clipping off."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay, per step, of an exponential moving average of the weights over a round; a site returns
    the average, and the next round starts from what came of it. 0: the last weights."""
    keep_optimizer: bool = False
    """Keep AdamW's moments at the site between rounds; with few steps a round it learns faster."""
    patience: int = Field(default=0, ge=0, le=100_000)
    """Rounds without a better validation loss after which the phase ends; 0: never. It ends one
    round later, as sites validate what they are sent. Without validation all rounds are trained."""
    max_skipped_steps: int = Field(default=5, ge=0, le=1_000_000)
    """Steps with a non-finite loss that a round may skip before the site gives up."""
    precision: Precision = Precision.AUTO
    """Number format of matrix products, in prediction too; ``auto``: bf16 on CUDA, fp32 elsewhere.
    Weights, moments and losses are always fp32."""
    augment: bool = False
    """Change training windows as the table ``augmentation`` says."""
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="before")
    @classmethod
    def _epochs_stand_for_steps(cls, values: Any) -> Any:
        """A plan that names epochs, and no steps, means epochs."""
        if isinstance(values, dict) and "local_epochs" in values:
            return {"local_steps": 0, **values}
        return values

    @model_validator(mode="after")
    def _one_measure_of_work(self) -> Self:
        if self.local_steps and self.local_epochs > 1:
            raise ValueError(
                f"local_steps = {self.local_steps} and local_epochs = {self.local_epochs} both say "
                "how long a site trains in a round: keep one of them"
            )
        return self

    def steps_of_round(self, samples: int) -> int:
        """Optimizer steps of a round over so many clips, or patients, of a site."""
        return self.local_steps or math.ceil(samples / self.batch_size) * self.local_epochs

    def steps_within(self, samples: int) -> tuple[int, int]:
        """Fewest and most steps of a round over at most so many clips, without skipped ones."""
        most = self.steps_of_round(samples)
        return max(1, most - self.max_skipped_steps if self.local_steps else 1), most

    def stages(self) -> tuple[Stage, ...]:
        """The rounds by the model that they train, in order."""
        return (Stage(1, self.rounds),)

    def stage_of(self, round_: int) -> Stage:
        """The stage that a round belongs to; the last one where the phase has no such round."""
        stages = self.stages()
        return next((stage for stage in stages if round_ <= stage.last), stages[-1])


class JudgedBy(StrEnum):
    """What sites report of the weights of a round of pre-training."""

    LOSS = "loss"
    PROBE = "probe"


class PretrainConfig(PhaseConfig):
    """The ``[pretrain]`` table: masked auto-encoding (VideoMAE, Tong 2022), or latent targets."""

    later: ClassVar = frozenset({"cell"})

    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    """Peak rate of AdamW."""
    augment: bool = False
    """Change training windows as the table ``augmentation`` says. Worth it where there are hundreds
    of cines and not thousands: over many rounds they are learnt by heart without it."""
    mask_ratio: float = Field(default=0.85, gt=0, lt=1)
    """Share of a window's space positions hidden; exactly floor(ratio * positions), in every time
    slot. Positions are those that are tokens at all: see ``model.sector_only``."""
    decode_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the hidden patches that the decoder predicts (dual masking, VideoMAE v2); 1: all."""
    cell: int = Field(default=0, ge=0, le=32)
    """Side in pixels of cells whose mean grey is predicted in each frame, so that speckle, which
    nothing foretells, averages out; divides ``model.patch``. 0: each pixel of a patch that is
    normalised by itself, as published."""
    share_decoder: bool = False
    """Aggregate the decoder too; by default it stays at the site."""
    target: Target = Target.PIXELS
    """What is predicted at hidden positions: ``pixels`` (masked auto-encoding), or ``latent``, the
    features that a frozen teacher finds there (SALT, Li 2025). The teacher is the encoder after
    ``teacher_rounds`` rounds on pixels, and is sent to a site once; the student starts as the run
    started, and trains in the rounds that are left, with a decoder, a warm-up and a schedule of its
    own."""
    teacher_rounds: int = Field(default=0, ge=0, le=100_000)
    """Rounds on pixels that train the teacher of latent targets, at least 1 and fewer than
    ``rounds``; 0 where the target is ``pixels``. ``patience`` never ends them, and the last of them
    is the teacher, whatever ``federation.select`` says."""

    watch_patients: int = Field(default=32, ge=0, le=10_000)
    """Patients of a site of whom one training clip each is encoded, nothing hidden, when a round is
    trained: the effective rank of these features (RankMe, Garrido 2023) is reported beside the
    loss. 0: none is. Never under differential privacy."""
    probe_patients: int = Field(default=16, ge=0, le=10_000)
    """Patients of a site with an EF, one training clip each, from whose features a ridge regression
    reads the EF of each by those of all others, when a round is trained: its R2 is reported beside
    the loss where there are 8 or more. 0: none is. Never under differential privacy."""
    judged_by: JudgedBy = JudgedBy.LOSS
    """What ``patience`` and ``federation.select = "best"`` go by: the ``loss`` on validation
    patients, or 1 minus the R2 of the ``probe``, since a loss can fall while features get worse."""

    @model_validator(mode="after")
    def _probes_what_judges(self) -> Self:
        if self.judged_by is JudgedBy.PROBE and self.probe_patients < LEAST_PROBED:
            raise ValueError(
                f'judged_by is "probe", so probe_patients should be at least {LEAST_PROBED}, got '
                f"{self.probe_patients}"
            )
        return self

    @model_validator(mode="after")
    def _teacher_before_student(self) -> Self:
        if self.target is Target.PIXELS and self.teacher_rounds:
            raise ValueError(
                f'teacher_rounds is {self.teacher_rounds}, but target is "pixels", which has no '
                'teacher: take it out, or set target = "latent"'
            )
        latent = self.target is Target.LATENT and self.rounds
        if latent and not 1 <= self.teacher_rounds < self.rounds:
            raise ValueError(
                'target is "latent", so teacher_rounds should be at least 1 and less than rounds, '
                f"which is {self.rounds}, got {self.teacher_rounds}: the rounds that are left "
                "train the student"
            )
        return self

    def stages(self) -> tuple[Stage, ...]:
        """The rounds by the model that they train; with latent targets the teacher's come first."""
        if self.target is Target.PIXELS:
            return super().stages()
        student = Stage(self.teacher_rounds + 1, self.rounds, latent=True)
        return Stage(1, self.teacher_rounds), student


class TuneMode(StrEnum):
    """What fine-tuning may change: heads only, also STF-Net, also adapters, or everything."""

    LINEAR = "linear"
    STF_PROBE = "stf_probe"
    LORA = "lora"
    FULL = "full"


class ClassWeights(StrEnum):
    """How much each class of a classification counts in the loss."""

    NONE = "none"
    BALANCED = "balanced"


class FinetuneConfig(PhaseConfig):
    """The ``[finetune]`` table: supervised training through STF-Net."""

    local_steps: int = Field(default=20, ge=0, le=1_000_000)
    """Optimizer steps of a round, as many at every site, however many clips it has: batches go on
    where the round before ended, pass after pass. 0: as many as ``local_epochs`` take. Choose it so
    that a middling site sees its clips about once a round; a plan that names ``local_epochs``
    alone means those."""
    augment: bool = True
    """Change training windows as the table ``augmentation`` says."""
    tasks: tuple[Task, ...] = (Task.EF, Task.ESV, Task.EDV, Task.REDUCED_EF, Task.AS_GRADE)
    """Tasks with a head; a clip trains those it has labels for."""
    label_fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of each site's labelled training patients whose labels are used, at least one patient a
    site, drawn by the plan's seed; the patients of a smaller share are among those of a larger one.
    Pre-training sees all clips. Validation and test patients keep their labels. To show what few
    labels can do, keep ``federation.select`` at ``last`` and ``patience`` at 0: a round that
    validation chooses rests on all labels of validation patients. An institution alone lets it
    choose unless the plan names ``last``."""
    mode: TuneMode = TuneMode.FULL
    """What may change: heads; STF-Net and heads; these and low-rank adapters of a frozen encoder;
    everything. What may not is sent to a site once, not each round."""
    lora: LoraConfig = LoraConfig()
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth where the encoder or its adapters train: probability that a window skips the
    last block's branches; it rises linearly from 0 in the first block."""
    reduced_ef_threshold: float = Field(default=50.0, ge=10, le=90)
    """EF below this, in percent, is the positive class of ``reduced_ef``."""
    standardisation: dict[Task, tuple[float, PositiveFloat]] = Field(default=dict(STANDARDISATION))
    """Mean and standard deviation that a regression target is standardised with, by task: EF in
    percent, volumes in the logarithm of ml. The same at all sites. The default is round values of
    adults, of no data set; a task that is not named has it."""
    class_weights: ClassWeights = ClassWeights.NONE
    """``balanced``: rare classes count more, by the effective number of clips (Cui 2019). Clips are
    those of ``class_counts`` or, for a task that is not there, the site's own training labels;
    these stay at the site, and sites then differ in what they minimise."""
    class_counts: dict[Task, tuple[PositiveInt, ...]] = Field(default={})
    """Clips of each class, in the order of the labels, by classification task, e.g.
    ``reduced_ef = [780, 220]`` (not reduced, reduced); read where classes are balanced."""
    focal_gamma: float = Field(default=0.0, ge=0, le=5)
    """Classification losses times (1 - p) ** gamma, p of the true class (Lin 2017); 0 is off."""

    @property
    def exact_adapters(self) -> bool:
        """Whether layers of the frozen encoder take up what averaged adapters miss."""
        return self.mode is TuneMode.LORA and self.lora.averaging is AdapterAveraging.EXACT

    @field_validator("standardisation")
    @classmethod
    def _are_regressions(
        cls, table: dict[Task, tuple[float, float]]
    ) -> dict[Task, tuple[float, float]]:
        for task, (mean, sd) in table.items():
            own = TASKS[task]
            if own.kind is not TaskKind.REGRESSION:
                raise ValueError(f"{task} is no regression and is not standardised")
            usual, width = STANDARDISATION[task]
            if not (usual - 5 * width < mean < usual + 5 * width and sd > width / 20):
                raise ValueError(
                    f"{task} cannot have mean {mean:g} and standard deviation {sd:g} in its unit"
                    f"{', the logarithm of ml' if own.log else f', {own.unit}'}; usual are "
                    f"{usual:g} and {width:g}"
                )
        return {**STANDARDISATION, **table}

    @field_validator("class_counts")
    @classmethod
    def _are_classes(cls, table: dict[Task, tuple[int, ...]]) -> dict[Task, tuple[int, ...]]:
        for task, counts in table.items():
            if len(counts) != class_count(task):
                raise ValueError(
                    f"{task} has {class_count(task)} classes, but {len(counts)} counts are given"
                )
        return table


def class_count(task: Task) -> int:
    """Classes of a task; 0 for a regression."""
    return len(CLASS_NAMES.get(task, ()))


class ExecutionConfig(Section):
    """The same keys in ``[machine]`` of a plan and in a hospital's ``site.toml``."""

    threads: int = Field(default=1, ge=1, le=1024)
    """CPU threads of a site's training. Changing it may change the last bits."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1`` ...; ``auto`` takes a GPU if there is one."""
    devices: int = Field(default=1, ge=1, le=64)
    """Devices that share each training batch, one process each: GPUs 0, 1 ... with ``cuda``, plain
    processes with ``cpu``. Changing it changes rounding only."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """Parts that a batch of either phase is computed in, one after the other: less memory, the same
    step up to rounding."""
    checkpoint_blocks: bool = False
    """Compute activations of transformer blocks twice and keep few: less memory, up to a third
    more time, the same gradients."""
    compile: bool = False
    """Compile the model with ``torch.compile``; where there is no compiler, say so and go on."""
    save_every: int = Field(default=0, ge=0, le=1_000_000)
    """Steps between two saves of an unfinished round at the site; started again, it goes on from
    the last and ends with the same bits. 0: it starts from its beginning."""

    def settings(self) -> dict[str, str | int | bool]:
        """These keys alone, also of a table that has others."""
        return self.model_dump(include=set(ExecutionConfig.model_fields))
