"""Options of an import."""

from dataclasses import dataclass
from enum import StrEnum

from echofm_core.models.config import ModelSize


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
            positions depend on them, and its tensors do not tell.
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
