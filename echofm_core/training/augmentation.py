"""What augmentation may change; apart from what changes it, so that plans load quickly."""

from pydantic import Field

from echofm_core.plan.section import Section


class AugmentationConfig(Section):
    """Ranges of the changes; each window draws once, its frames and its sector change alike.

    There is no vertical flip: the transducer is always above. A heart that scale, crop or depth
    draw larger is a larger heart: the labels of volumes change with it, and no others.
    """

    shift: float = Field(default=0.04, ge=0, le=0.25)
    """Largest shift along an axis, as a share of the side."""
    scale: float = Field(default=0.05, ge=0, le=0.3)
    """Largest relative change of size."""
    rotation: float = Field(default=8.0, ge=0, le=45)
    """Largest rotation about the centre, in degrees."""
    depth: float = Field(default=0.0, ge=0, le=0.3)
    """Largest relative change of length along the beam, away from the top of the sector."""
    crop: float = Field(default=0.0, ge=0, le=0.5)
    """Largest share of the side that a random crop cuts away before it fills the frame again."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of a left-right flip. Views have an orientation: flipped ones are not real."""
    gain: float = Field(default=0.15, ge=0, le=0.9)
    """Largest relative change of brightness."""
    gamma: float = Field(default=0.2, ge=0, le=1)
    """Largest natural logarithm of the exponent of grey values."""
    speckle: float = Field(default=0.0, ge=0, le=3)
    """Largest standard deviation of a Gaussian blur inside the sector, in pixels."""
