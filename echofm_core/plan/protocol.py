"""The ``[protocol]`` table: how manifests become sites and patient-disjoint splits."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

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
    unseen: tuple[str, ...] = ()
    """Sites, as the rule names them, that no model of a simulation trains on: no clip, no label and
    no statistic of theirs reaches one, and they do not count for ``federation.min_sites``. All
    their usable patients are test patients, whatever split is official there, for every model but
    leave-one-out. Between hospitals, where every admitted site trains, a plan that has it is
    refused; for an institution alone it has no meaning."""

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

    @model_serializer(mode="wrap")
    def _as_before_without_unseen(self, rest: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Plans from before ``unseen`` keep their hash: at its default it is left out."""
        values: dict[str, Any] = rest(self)
        if not self.unseen:
            values.pop("unseen", None)
        return values
