"""What a model sees of a clip: resolution, frames, duration."""

from enum import StrEnum
from typing import NamedTuple

from pydantic import Field

from echofm_core.plan.section import Section


class Square(NamedTuple):
    """What a store holds of every picture.

    Attributes:
        size: Side, in pixels.
        field_cm: Centimetres that it shows both ways where the size of a pixel is known; 0 where
            nobody asks for that.
    """

    size: int
    field_cm: float

    def __str__(self) -> str:
        """For messages."""
        return f"{self.size} pixels" + (f" that show {self.field_cm:g} cm" if self.field_cm else "")


class Tmed2Form(StrEnum):
    """How the stills of a study become what a model sees."""

    STUDY_CLIP = "study_clip"
    IMAGES = "images"
    BAG = "bag"


class Development(StrEnum):
    """TMED-2's development sets, by how many studies are labelled for it."""

    DEV479 = "DEV479"
    DEV165 = "DEV165"
    DEV56 = "DEV56"


class Tmed2Config(Section):
    """The ``[data.tmed2]`` table of a plan."""

    form: Tmed2Form = Tmed2Form.STUDY_CLIP
    """``study_clip``: a study's images of relevant views are the frames of one clip; ``images``:
    each image is a clip, predictions are averaged over the study; ``bag``: as ``study_clip``, each
    image encoded by itself and attended over, at most ``data.frames`` of a study, evenly taken;
    wants ``model.stf_net = "bag"``."""
    development: Development = Development.DEV479
    """Development set whose tables give the split; studies outside it have no grade."""
    fold: int = Field(default=0, ge=0, le=2)
    """Fold of that set."""


class MimicConfig(Section):
    """The ``[data.mimic_iv_echo]`` table of a plan."""

    measurements: bool = True
    """Take EF and volumes from the structured measurements; false leaves the cines unlabelled."""


class DataConfig(Section):
    """The ``[data]`` table of a plan."""

    size: int = Field(default=112, ge=32, le=512, multiple_of=8)
    """Height and width of stored and fed frames, in pixels."""
    frames: int = Field(default=16, ge=2, le=128, multiple_of=2)
    """Frames T of a window."""
    window_seconds: float = Field(default=1.3, ge=0, le=600)
    """Duration that a window spans, in seconds (about a beat); 0 means the whole clip."""
    test_windows: int = Field(default=3, ge=1, le=64)
    """At most this many windows cover a clip at test time; predictions are their mean."""
    min_clip_frames: int = Field(default=8, ge=1, le=10_000)
    """Cines with fewer frames are quarantined (stills are not cines)."""
    field_cm: float = Field(default=17.0, ge=0, le=60)
    """Width and height in cm that a frame shows, from the top of the sector, where the source says
    how large a pixel is (DICOM, CAMUS): hearts are then as large at every depth, and at every site.
    0, and where nothing says it: the whole picture, whatever it shows."""
    tmed2: Tmed2Config = Tmed2Config()
    mimic_iv_echo: MimicConfig = MimicConfig()

    @property
    def square(self) -> Square:
        """What a clip store holds of every picture."""
        return Square(self.size, self.field_cm)
