"""How a site trains in each phase. Counted in global rounds, so that a federation is one run."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from echofm_core.section import Section
from echofm_core.tasks import Task


class PhaseConfig(Section):
    """What both phases share."""

    rounds: int = Field(default=10, ge=0)
    """Global rounds of this phase; 0 skips it."""
    local_epochs: int = Field(default=1, ge=1)
    """Passes over the site's training clips in a round."""
    batch_size: int = Field(default=16, ge=1)
    """Windows of one optimizer step."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak rate of AdamW."""
    warmup_rounds: float = Field(default=1.0, ge=0)
    """Linear warm-up, in global rounds; cosine to zero after it, over the whole phase."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's weight decay; none on biases, norms and tokens."""
    clip_gradient: float = Field(default=1.0, ge=0)
    """Largest gradient norm; 0 switches clipping off."""
    keep_optimizer: bool = False
    """Keep AdamW's moments at the site between rounds; with few steps a round it learns faster."""
    max_skipped_steps: int = Field(default=5, ge=0)
    """Steps with a non-finite loss that a round may skip before the site gives up."""


class PretrainConfig(PhaseConfig):
    """The ``[pretrain]`` table: masked auto-encoding (VideoMAE, Tong 2022)."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak rate of AdamW."""
    mask_ratio: float = Field(default=0.85, gt=0, lt=1)
    """Share of space positions hidden; exactly floor(ratio * positions), in every time slot."""
    decode_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of the hidden patches that the decoder predicts (dual masking, VideoMAE v2); 1: all."""
    sector_loss: bool = True
    """Only patches that touch the ultrasound sector count in the loss."""
    share_decoder: bool = False
    """Aggregate the decoder too; by default it stays at the site."""


class TuneMode(StrEnum):
    """What fine-tuning may change: heads only, STF-Net and heads, or everything."""

    LINEAR = "linear"
    STF_PROBE = "stf_probe"
    FULL = "full"


class FinetuneConfig(PhaseConfig):
    """The ``[finetune]`` table: supervised training through STF-Net."""

    tasks: tuple[Task, ...] = (Task.EF, Task.ESV, Task.EDV, Task.REDUCED_EF, Task.AS_GRADE)
    """Tasks with a head; a clip trains those it has labels for."""
    mode: TuneMode = TuneMode.FULL
    """What may change."""
    reduced_ef_threshold: float = Field(default=50.0, gt=0, lt=100)
    """EF below this, in percent, is the positive class of ``reduced_ef``."""
    augment: bool = True
    """Small shifts, scale, gain and gamma on training windows."""
