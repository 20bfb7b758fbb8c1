"""Where a heart lies and what shape it has at one moment; masks and outlines of its chambers.

Coordinates are cm in the scan plane: x to the right of the picture, z down from the probe. A pose
turns and shifts the heart; shapes are written in the heart's own frame (u, v). In the apical views
the long axis of the left ventricle points down (+v) from its apex at the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.canvas import Field, Path
from echofm_core.phantom.heart import Heart


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where the heart lies: ``turn`` in radians, ``x`` and ``z`` of the heart's origin in cm."""

    turn: float = 0.0
    x: float = 0.0
    z: float = 2.2

    def to_heart(self, x: Field, z: Field) -> tuple[Field, Field]:
        """Scan-plane points in the heart's frame."""
        cosine, sine = np.float32(math.cos(self.turn)), np.float32(math.sin(self.turn))
        dx, dz = x - np.float32(self.x), z - np.float32(self.z)
        return cosine * dx + sine * dz, -sine * dx + cosine * dz

    def to_plane(self, u: Field, v: Field) -> tuple[Field, Field]:
        """Inverse of :meth:`to_heart`."""
        cosine, sine = np.float32(math.cos(self.turn)), np.float32(math.sin(self.turn))
        across = cosine * u - sine * v + np.float32(self.x)
        return across, sine * u + cosine * v + np.float32(self.z)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A heart at one phase of its beat.

    Attributes:
        radius, length: Half-width at the base and long axis of the left ventricle, cm.
        wall: Its wall thickness, cm.
        descent: How far the base has come down towards the apex since end-diastole, cm.
        atrium: Half-width of the left atrium, cm: it fills while the ventricle empties.
        mitral, aortic: Opening of the valves, 0 to 1.
        filling: 1 at end-diastole, 0 at end-systole.
        as_grade: Aortic stenosis, 0 to 4.
    """

    radius: float
    length: float
    wall: float
    descent: float
    atrium: float
    mitral: float
    aortic: float
    filling: float
    as_grade: int

    @classmethod
    def of(cls, heart: Heart, phase: float) -> Moment:
        """The heart at a phase."""
        at = np.asarray(phase, dtype=np.float64)
        volume, filling = heart.volume(at), float(heart.filling(at))
        length = float(heart.length(volume))
        return cls(
            radius=float(heart.radius(volume)),
            length=length,
            wall=float(heart.thickness(volume)),
            descent=float(heart.length(np.asarray(heart.edv))) - length,
            atrium=1.75 + 0.5 * (1 - filling),
            mitral=float(heart.mitral_opening(at)),
            aortic=float(heart.valve_opening(at)),
            filling=filling,
            as_grade=heart.as_grade,
        )

    def cavity(self, margin: float = 0.0, tip: float = 0.0) -> Path:
        """Outline (64, 2) of the half-ellipse from base to apex to base.

        Args:
            margin: Widens it, cm.
            tip: Moves its apex outwards, cm.
        """
        angle = np.linspace(-math.pi / 2, math.pi / 2, 64)
        across = (self.radius + margin) * np.sin(angle)
        return np.stack([across, self.length - (self.length + tip) * np.cos(angle)], axis=1)

    @property
    def atrium_middle(self) -> float:
        """Depth v of the middle of the left atrium in the apical views, cm."""
        return self.length + 0.15 + 1.05 * self.atrium


def chamber_labels(now: Moment, u: Field, v: Field) -> NDArray[np.uint8]:
    """CAMUS mask of an apical view: 0 background, 1 cavity, 2 muscle, 3 left atrium."""
    from_base = v - now.length
    inner = np.hypot(u / now.radius, from_base / now.length)
    outer = np.hypot(u / (now.radius + now.wall), from_base / (now.length + now.wall))
    atrium = np.hypot(u / now.atrium, (v - now.atrium_middle) / (1.15 * now.atrium))
    labels = np.zeros(u.shape, dtype=np.uint8)
    labels[(outer < 1) & (from_base < 0)] = 2
    labels[(inner < 1) & (from_base < 0)] = 1
    labels[(atrium < 1) & (from_base > 0.15)] = 3
    return labels


def cavity_outline(now: Moment, v: Field) -> Field:
    """Half-width in cm of the cavity at depth v below the apex."""
    share = np.clip(v / now.length, 0, 1)
    half: Field = (now.radius * np.sqrt(1 - (1 - share) ** 2)).astype(np.float32)
    return half
