"""Scanner profiles: why the same heart looks different in another hospital."""

from dataclasses import dataclass, replace

import numpy as np

from echofm_core.phantom.canvas import Field


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanner:
    """How one institution's machines draw.

    Attributes:
        height, width: Picture size, pixels.
        apex: Probe position (x, y) in pixels.
        radius: Length of the sector in pixels, straight down.
        depth: Depth of the sector, cm; radius / depth is pixels a cm.
        half_angle: Half of the opening, radians.
        fps: Frames a second.
        squeeze: Pixels a cm across over pixels a cm down; 1 where pixels are square.
        gain: Overall gain, dB.
        dynamic_range: Log compression, dB.
        gamma: Curve of the grey map; larger is harder.
        axial, lateral: Point-spread widths, in samples of the polar grid.
        attenuation: dB lost over the depth that time-gain does not give back.
        haze: Clutter near the probe, amplitude.
        noise: Receiver noise, amplitude.
        drop_out: How often beams lie behind a rib or in bad contact, 0 to 1.
        persistence: Share of the frame before that stays in a picture.
        side_lobes: How much strong echoes leak across the beams, amplitude.
        sharpness: How much the machine lifts edges; 0 leaves them.
        quality: Of the JPEG pictures of stored files, percent.
    """

    height: int
    width: int
    apex: tuple[float, float]
    radius: float
    depth: float
    half_angle: float
    fps: float
    squeeze: float = 1.0
    gain: float = 0.0
    dynamic_range: float = 52.0
    gamma: float = 1.4
    axial: float = 0.9
    lateral: float = 1.3
    attenuation: float = 6.0
    haze: float = 0.12
    noise: float = 0.008
    drop_out: float = 0.06
    persistence: float = 0.0
    side_lobes: float = 0.0
    sharpness: float = 0.0
    quality: int = 95

    @property
    def pixels_per_cm(self) -> tuple[float, float]:
        """Scale of the picture across and down."""
        down = self.radius / self.depth
        return down * self.squeeze, down

    def pixel_grid(self) -> tuple[Field, Field]:
        """Scan-plane coordinates (x, z) in cm of every pixel, float32 (H, W)."""
        rows, columns = np.mgrid[: self.height, : self.width].astype(np.float32)
        across, down = self.pixels_per_cm
        return (
            (columns - np.float32(self.apex[0])) / np.float32(across),
            (rows - np.float32(self.apex[1])) / np.float32(down),
        )


#: EchoNet-Dynamic clips: 112 x 112, apex (61, 7), half-angle .79 rad, radius 107 pixels.
ECHONET = Scanner(
    height=112, width=112, apex=(61, 7), radius=107, depth=16, half_angle=0.79, fps=50,
)  # fmt: skip
#: GE Vivid E95 in St-Etienne: fine speckle, dark background, narrow sector; pixels not square,
#: and not the same for every patient.
_VIVID = Scanner(
    height=272, width=208, apex=(104, 8), radius=258, depth=16.5, half_angle=0.66, fps=48.4,
    squeeze=0.65, gain=-2, dynamic_range=60, gamma=1.7, axial=0.7, lateral=1.0,
    attenuation=9, haze=0.07, noise=0.004, drop_out=0.1,
)  # fmt: skip
CAMUS = (
    _VIVID,
    replace(
        _VIVID, height=240, width=232, apex=(116, 8), radius=228, depth=15.5, half_angle=0.7,
        fps=51.2, squeeze=0.75,
    ),
)  # fmt: skip
#: Boston, two machines: a wide bright sector, and a coarse one with much haze.
MIMIC = (
    Scanner(
        height=240, width=320, apex=(168, 10), radius=200, depth=17, half_angle=0.76, fps=30,
        gain=4, dynamic_range=48, gamma=1.3, axial=1.0, lateral=1.7, haze=0.14, noise=0.01,
    ),
    Scanner(
        height=240, width=320, apex=(150, 16), radius=190, depth=18, half_angle=0.68, fps=25,
        gain=1, dynamic_range=58, gamma=1.5, axial=1.4, lateral=2.1, attenuation=10, haze=0.3,
        noise=0.015,
    ),
)  # fmt: skip
#: Tufts: single frames, shrunk to 112 x 112.
TMED = Scanner(
    height=112, width=112, apex=(56, 3), radius=107, depth=14.5, half_angle=0.72, fps=30,
    gain=2, dynamic_range=50, gamma=1.5, lateral=1.5, haze=0.16, noise=0.01,
)  # fmt: skip
