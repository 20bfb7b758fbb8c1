"""The ``[finetune.lora]`` table: low-rank adapters beside frozen layers of the encoder."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator

from echofm_core.plan.section import Section


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


class LoraConfig(Section):
    """Read where ``finetune.mode`` is ``lora``. Source: Hu 2022 (LoRA)."""

    rank: int = Field(default=8, ge=1, le=256)
    """Rank of each adapter; at most the encoder's width."""
    alpha: int = Field(default=16, ge=1)
    """An adapter's output counts alpha / rank: a layer's weight becomes W + alpha / rank * B A."""
    targets: tuple[LoraTarget, ...] = (LoraTarget.QKV, LoraTarget.PROJ)
    """Layers of every block that get an adapter."""
    freeze_a: bool = False
    """Train B alone (FFA-LoRA, Sun 2024): less to exchange, and the mean of the sites' adapters is
    then exactly the mean of what they add to the encoder; with A trained too it is not."""

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
