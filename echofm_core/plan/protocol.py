"""The ``[protocol]`` table: how manifests become sites and patient-disjoint splits."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.section import Section
from echofm_core.tasks import VIEWS


class ProtocolName(StrEnum):
    """Named rules that turn manifests into sites and patient-disjoint splits."""

    INSTITUTION = "institution"
    QUALITY = "quality"
    VENDOR_MODEL = "vendor_model"
    ACQUISITION = "acquisition"
    CARE_SETTING = "care_setting"
    FEDCVD = "fedcvd"
    DIRICHLET = "dirichlet"
    VIEW_SKEW = "view_skew"
    QUANTITY = "quantity"
    IID = "iid"

    @classmethod
    def _missing_(cls, value: object) -> ProtocolName | None:
        return cls.VENDOR_MODEL if value == "device" else None


#: Rules whose sites are dealt out by a draw, ``clients`` of them: no institutions.
SYNTHETIC = frozenset(
    {ProtocolName.DIRICHLET, ProtocolName.VIEW_SKEW, ProtocolName.QUANTITY, ProtocolName.IID}
)
#: Those among them whose draw ``alpha`` skews.
SKEWED = frozenset({ProtocolName.DIRICHLET, ProtocolName.VIEW_SKEW})


class Setting(StrEnum):
    """Settings of a scanner that sites can be bands of: columns of the manifest."""

    FPS = "fps"
    DEPTH = "depth_cm"
    FREQUENCY = "frequency_mhz"
    GAIN = "gain_db"


Edge = Annotated[float, Field(ge=-1e6, le=1e6)]


class ProtocolConfig(Section):
    """The ``[protocol]`` table."""

    later: ClassVar = frozenset({"unseen", "spread", "acquisition", "edges", "unlabelled_target"})

    name: ProtocolName = ProtocolName.INSTITUTION
    """Which rule: the institution that data are of, or the clients of FedCVD; a patient's image
    quality, scanner, setting of the scanner or care setting; or, synthetic, `clients` sites skewed
    by label (dirichlet) or view, of unlike size (quantity), or alike (iid)."""
    datasets: tuple[str, ...] = ()
    """Data sets that take part; empty means all that were found."""
    views: tuple[str, ...] = ()
    """Views that take part in fine-tuning and evaluation; empty means all."""
    validation_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of patients for validation where a data set has no official split."""
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of patients for test where a data set has no official split."""
    min_patients: int = Field(default=2, ge=1, le=1_000_000)
    """Smaller sites are an error (institution) or merged into ``other`` (groups by a
    column)."""
    clients: int = Field(default=4, ge=2, le=100_000)
    """Synthetic rules only: number of sites."""
    alpha: float = Field(default=0.5, gt=0, le=1e6)
    """Dirichlet and view_skew only: concentration; small means strong skew."""
    spread: float = Field(default=1.0, ge=0, le=5)
    """Quantity only: standard deviation of the logarithm of a site's size; 0: all alike."""
    acquisition: Setting = Setting.FPS
    """Acquisition only: which setting; frame rate in Hz, depth in cm, frequency of the transducer
    in MHz, or gain in dB."""
    edges: tuple[Edge, ...] = ()
    """Acquisition only: where its bands are cut, in that unit, ascending; empty: into three of
    about as many patients each, so that the edges follow from the data."""
    unseen: tuple[str, ...] = ()
    """Sites, as the rule names them, that no model of a simulation trains on: no clip, no label and
    no statistic of theirs reaches one, and they do not count for ``federation.min_sites``. All
    their usable patients are test patients, whatever split is official there, for every model but
    leave-one-out; with `evaluation.few_shot` or `unlabelled_target` their test set is the official
    one or, without any, `test_fraction` of them. Between hospitals, where every admitted site
    trains, a plan that has it is refused; for an institution alone it has no meaning."""
    unlabelled_target: bool = False
    """Whether a model may pre-train on training clips, without labels, of the sites that it is not
    to see: one left out in turn, and those of `unseen`. Their test patients are never among them,
    and notes on every table say so. false: nothing of them reaches it."""

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

    @field_validator("edges")
    @classmethod
    def _ascend(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if list(edges) != sorted(set(edges)):
            raise ValueError(f"{list(edges)} does not ascend: write each edge once, least first")
        return edges
