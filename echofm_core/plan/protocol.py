"""The ``[protocol]`` table: how manifests become sites and patient-disjoint splits."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.section import Section
from echofm_core.tasks import VIEWS


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
    min_patients: int = Field(default=2, ge=1, le=1_000_000)
    """Smaller sites are an error (institution) or merged into ``other`` (device, quality)."""
    clients: int = Field(default=4, ge=2, le=100_000)
    """Dirichlet only: number of synthetic sites."""
    alpha: float = Field(default=0.5, gt=0, le=1e6)
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
