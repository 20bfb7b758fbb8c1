"""Scanner profiles: why the same heart looks different in another hospital."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanner:
    """How one institution's machines draw.

    Attributes:
        height, width: Picture size, pixels.
        apex: Probe position (x, y) in pixels.
        radius: Length of the sector in pixels.
        depth: Depth of the sector, cm; radius / depth is pixels a cm.
        half_angle: Half of the opening, radians.
        fps: Frames a second.
        gain: Overall gain, dB.
        dynamic_range: Log compression, dB.
        axial, lateral: Point-spread widths, in samples of the polar grid.
        attenuation: dB lost over the depth that time-gain does not give back.
        noise: Receiver noise, amplitude.
        drop_out: Share of beams behind a rib or in bad contact.
    """

    height: int
    width: int
    apex: tuple[float, float]
    radius: float
    depth: float
    half_angle: float
    fps: float
    gain: float = 0.0
    dynamic_range: float = 52.0
    axial: float = 0.9
    lateral: float = 1.1
    attenuation: float = 6.0
    noise: float = 0.012
    drop_out: float = 0.06

    @property
    def pixels_per_cm(self) -> float:
        """Scale of the picture."""
        return self.radius / self.depth

    def pixel_grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Scan-plane coordinates (x, z) in cm of every pixel, float32 (H, W)."""
        rows, columns = np.mgrid[: self.height, : self.width].astype(np.float32)
        scale = np.float32(self.pixels_per_cm)
        return (columns - self.apex[0]) / scale, (rows - self.apex[1]) / scale


#: EchoNet-Dynamic clips: 112 x 112, apex (61, 7), half-angle .79 rad, radius 107 pixels.
ECHONET = Scanner(
    height=112, width=112, apex=(61, 7), radius=107, depth=16, half_angle=0.79, fps=50,
)  # fmt: skip
#: GE Vivid E95 in St-Etienne: fine speckle, dark background, narrow sector.
CAMUS = Scanner(
    height=220, width=200, apex=(100, 6), radius=206, depth=16.5, half_angle=0.66, fps=48,
    gain=-3, dynamic_range=60, axial=0.7, lateral=0.9, attenuation=9, noise=0.006, drop_out=0.1,
)  # fmt: skip
#: Boston, two machines: a wide bright sector and a coarse one.
MIMIC = (
    Scanner(
        height=240, width=320, apex=(160, 12), radius=196, depth=17, half_angle=0.75, fps=30,
        gain=4, dynamic_range=46, axial=1.1, lateral=1.5, noise=0.02,
    ),
    Scanner(
        height=240, width=320, apex=(150, 16), radius=190, depth=18, half_angle=0.7, fps=25,
        gain=1, dynamic_range=56, axial=1.4, lateral=1.8, noise=0.03, attenuation=10,
    ),
)  # fmt: skip
#: Tufts: single frames, shrunk to 112 x 112.
TMED = Scanner(
    height=112, width=112, apex=(56, 4), radius=105, depth=13, half_angle=0.75, fps=30,
    gain=2, dynamic_range=50, axial=1.0, lateral=1.3, noise=0.015,
)  # fmt: skip
