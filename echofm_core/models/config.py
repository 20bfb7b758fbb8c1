"""Sizes and choices of the model and its adapters; the numbers behind the size names."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from echofm_core.plan.section import Section


class ModelSize(StrEnum):
    """Named encoder sizes; ``tiny`` trains on a laptop CPU, ``base`` is the published one."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"
    LARGE = "large"


class StfNetForm(StrEnum):
    """Fusion network: ours (factorised), the published (126 M), mean pooling, a bag of frames."""

    COMPACT = "compact"
    PUBLISHED = "published"
    MEAN_POOL = "mean_pool"
    BAG = "bag"


class StfPart(StrEnum):
    """A part of the compact STF-Net and of the heads behind it, for ablations.

    ``deviation`` is the temporal standard deviation of features and of grey levels, ``stages`` the
    mix of all stages of the encoder (without it the last is read), ``joint`` and ``disjoint`` are
    the pathways, ``grey`` the grey levels that heads of the ventricle see.
    """

    DEVIATION = "deviation"
    STAGES = "stages"
    JOINT = "joint"
    DISJOINT = "disjoint"
    GREY = "grey"


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Width, depth and heads of the encoder, and of the decoder that serves it in pre-training."""

    width: int
    depth: int
    heads: int
    decoder_width: int
    decoder_depth: int
    decoder_heads: int


#: base and large follow VideoMAE (Tong 2022). The decoder of tiny too is 4 deep: where it is less,
#: the encoder's last blocks do its work, and their features say less of the patient (He 2022,
#: table 1a).
ENCODER_SHAPES: Mapping[ModelSize, EncoderShape] = {
    ModelSize.TINY: EncoderShape(128, 4, 4, 64, 4, 2),
    ModelSize.SMALL: EncoderShape(384, 12, 6, 192, 4, 3),
    ModelSize.BASE: EncoderShape(768, 12, 12, 384, 4, 6),
    ModelSize.LARGE: EncoderShape(1024, 24, 16, 512, 8, 8),
}


class ModelConfig(Section):
    """The ``[model]`` table of a plan."""

    size: ModelSize = ModelSize.TINY
    """Encoder size."""
    stf_net: StfNetForm = StfNetForm.COMPACT
    """Form of the spatial-temporal fusion network; ``bag`` encodes each frame by itself, so that no
    motion is seen, and attends over the frames."""
    stf_without: tuple[StfPart, ...] = ()
    """Parts of the compact form that are left out, to measure what they are worth: ``deviation``
    (temporal deviation of features and grey levels), ``stages`` (the mix of the encoder's stages),
    ``joint`` or ``disjoint`` (a pathway), ``grey`` (grey levels beside the fused features)."""
    patch: int = Field(default=16, ge=4, le=32)
    """Side of a square patch, in pixels; divides ``data.size``."""
    tubelet: int = Field(default=2, ge=1, le=4)
    """Frames of one patch; divides ``data.frames``."""
    sector_only: bool = True
    """Only patches that touch the ultrasound sector are tokens: a cone fills about three quarters
    of its square, and black corners cost as much as a heart. false: the whole square, as published.
    """
    final_norm: bool = True
    """The encoder ends with a LayerNorm; public weights that never had one say false."""
    position_grid: tuple[int, ...] = ()
    """(slots, rows, cols) of the tokens that imported weights saw; empty: those of this plan."""
    start: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Digest of the weights that training starts from; follows from ``machine.start``."""

    @field_validator("position_grid")
    @classmethod
    def _three_sizes(cls, grid: tuple[int, ...]) -> tuple[int, ...]:
        if grid and (len(grid) != 3 or not 1 <= min(grid) <= max(grid) <= 512):
            raise ValueError("should be three sizes from 1 to 512: slots, rows, columns")
        return grid

    @model_validator(mode="after")
    def _leaves_a_pathway(self) -> Self:
        if self.stf_without and self.stf_net is not StfNetForm.COMPACT:
            raise ValueError(
                f"stf_without names parts of the compact form, but stf_net is {self.stf_net}: "
                "take one of them out"
            )
        if {StfPart.JOINT, StfPart.DISJOINT} <= set(self.stf_without):
            raise ValueError("stf_without leaves out both pathways: keep joint or disjoint")
        return self


class LoraTarget(StrEnum):
    """Layers of an encoder block: attention's input and output maps, and the two of the MLP."""

    QKV = "qkv"
    PROJ = "proj"
    FC1 = "fc1"
    FC2 = "fc2"

    @property
    def layer(self) -> str:
        """Its name within a block."""
        return f"{'attn' if self in (LoraTarget.QKV, LoraTarget.PROJ) else 'mlp'}.{self.value}"


class AdapterAveraging(StrEnum):
    """How a federation averages adapters whose A and B both train."""

    SEPARATE = "separate"
    EXACT = "exact"


class LoraConfig(Section):
    """Read where ``finetune.mode`` is ``lora``. Source: Hu 2022 (LoRA)."""

    later: ClassVar = frozenset({"averaging"})

    rank: int = Field(default=8, ge=1, le=256)
    """Rank of each adapter; at most the encoder's width."""
    alpha: int = Field(default=16, ge=1, le=4096)
    """An adapter's output counts alpha / rank: a layer's weight becomes W + alpha / rank * B A."""
    targets: tuple[LoraTarget, ...] = (LoraTarget.QKV, LoraTarget.PROJ)
    """Layers of every block that get an adapter."""
    freeze_a: bool = False
    """Train B alone (FFA-LoRA, Sun 2024): less to exchange, and the mean of the sites' adapters is
    then exactly the mean of what they add to the encoder; with A trained too it is not."""
    averaging: AdapterAveraging = AdapterAveraging.SEPARATE
    """Where A trains too: ``separate``, A and B each by itself (FedIT, Zhang 2023), which is
    biased, as the product of means is not the mean of products; ``exact`` (FedEx-LoRA, Singhal
    2025), in which the encoder's layers take up the difference and are sent to the sites each
    round, and never back; with ``fedavg`` and ``fedprox`` alone."""

    @model_validator(mode="after")
    def _is_exact_once(self) -> Self:
        if self.freeze_a and self.averaging is AdapterAveraging.EXACT:
            raise ValueError(
                "with freeze_a = true the mean of adapters is exact already: leave out averaging = "
                '"exact", which would send layers that do not change'
            )
        return self

    @field_validator("targets")
    @classmethod
    def _some_and_once(cls, targets: tuple[LoraTarget, ...]) -> tuple[LoraTarget, ...]:
        if not targets or len(set(targets)) < len(targets):
            raise ValueError("should name at least one layer, and each only once")
        return targets

    @property
    def scale(self) -> float:
        """Factor on ``B A``."""
        return self.alpha / self.rank


class InputScale(StrEnum):
    """How a model's training normalised grey levels in [0, 1]."""

    IMAGENET = "imagenet"
    UNIT = "unit"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportOptions:
    """What the import gives; None: as the checkpoint has it.

    Attributes:
        size, patch, tubelet: Refused where the checkpoint differs.
        pixels, frames: Of the videos that the model shall read.
        trained_pixels, trained_frames: Of the videos that the checkpoint was trained on; its
            positions depend on them, and its tensors do not show it.
        input: How the checkpoint's input was normalised.
    """

    size: ModelSize | None = None
    patch: int | None = None
    tubelet: int | None = None
    pixels: int | None = None
    frames: int | None = None
    trained_pixels: int | None = None
    trained_frames: int | None = None
    input: InputScale | None = None
