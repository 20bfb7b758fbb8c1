"""Where a heart lies and what shape it has at one moment; masks and outlines of its chambers.

Coordinates are cm in the scan plane: x to the right of the picture, z down from the probe. A pose
turns and shifts the heart; shapes are written in the heart's own frame (u, v). In the apical views
the long axis of the left ventricle points down (+v) from its apex at the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.canvas import Field, Path, path_of
from echofm_core.phantom.heart import Heart


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where the heart lies, and how much of it the scan plane shows.

    Attributes:
        turn: Radians.
        x, z: Of the heart's origin, cm.
        wide, long: Apparent size over true size, across and along the long axis: below 1 where the
            plane misses the axis, or the apex (foreshortening).
    """

    turn: float = 0.0
    x: float = 0.0
    z: float = 2.2
    wide: float = 1.0
    long: float = 1.0

    def to_heart(self, x: Field, z: Field) -> tuple[Field, Field]:
        """Scan-plane points in the heart's frame."""
        cosine, sine = np.float32(math.cos(self.turn)), np.float32(math.sin(self.turn))
        dx, dz = x - np.float32(self.x), z - np.float32(self.z)
        u, v = cosine * dx + sine * dz, -sine * dx + cosine * dz
        return u * np.float32(1 / self.wide), v * np.float32(1 / self.long)

    def to_plane(self, u: Field, v: Field) -> tuple[Field, Field]:
        """Inverse of :meth:`to_heart`."""
        cosine, sine = np.float32(math.cos(self.turn)), np.float32(math.sin(self.turn))
        u, v = u * np.float32(self.wide), v * np.float32(self.long)
        across = cosine * u - sine * v + np.float32(self.x)
        return across, sine * u + cosine * v + np.float32(self.z)


#: A column (F, 1): a number a moment, ready to meet the points of a path.
Column = NDArray[np.float64]
V = TypeVar("V", float, Column)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment(Generic[V]):
    """A heart at one phase of its beat; or at F of them, every number a column (F, 1).

    Attributes:
        radius, length: Half-width at the base and long axis of the left ventricle, cm.
        wall: Its wall thickness, cm.
        descent: How far the base has come down towards the apex since end-diastole, cm.
        atrium: Half-width of the left atrium, cm: it fills while the ventricle empties.
        mitral, aortic: Opening of the valves, 0 to 1.
        filling: 1 at end-diastole, 0 at end-systole.
        regional: What the right wall's middle has more than the left one's, as a share of its
            distance squared from the axis.
        as_grade: Aortic stenosis, 0 to 4.
    """

    radius: V
    length: V
    wall: V
    descent: V
    atrium: V
    mitral: V
    aortic: V
    filling: V
    regional: V
    as_grade: int

    @staticmethod
    def of(heart: Heart, phase: float) -> Moment[float]:
        """The heart at a phase."""
        return Moment.over(heart, np.array([phase], dtype=np.float64)).each()[0]

    @staticmethod
    def over(
        heart: Heart, phases: NDArray[np.float64], strength: NDArray[np.float64] | None = None
    ) -> Moment[Column]:
        """The heart at phases (F,); ``strength`` (F,) is its beats' stroke over the usual one."""
        at = phases[:, None]
        filling = heart.filling(at)
        if strength is not None:
            filling = 1 - strength[:, None] * (1 - filling)
        volume = heart.esv + (heart.edv - heart.esv) * filling
        length = heart.length(volume)
        return Moment(
            radius=heart.radius(volume),
            length=length,
            wall=heart.thickness(volume),
            descent=heart.length(np.asarray(heart.edv)) - length,
            atrium=1.75 + 0.5 * (1 - filling),
            mitral=heart.mitral_opening(at),
            aortic=heart.valve_opening(at),
            filling=filling,
            regional=heart.regional * (1 - filling),
            as_grade=heart.as_grade,
        )

    def each(self) -> list[Moment[float]]:
        """Of F moments, one by one."""
        names = [item.name for item in fields(self) if item.name != "as_grade"]
        rows = zip(*(np.ravel(getattr(self, name)).tolist() for name in names), strict=True)
        return [
            Moment(as_grade=self.as_grade, **dict(zip(names, row, strict=True))) for row in rows
        ]

    def cavity(self, margin: V | float = 0.0, tip: V | float = 0.0) -> Path:
        """Outline (64, 2), or (F, 64, 2), of the half-ellipse from base to apex to base.

        Args:
            margin: Widens it, cm.
            tip: Moves its apex outwards, cm.
        """
        angle = np.linspace(-math.pi / 2, math.pi / 2, 64)
        across = (self.radius * self._side(angle) + margin) * np.sin(angle)
        return path_of(across, self.length - (self.length + tip) * np.cos(angle))

    def _side(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(1 + self.regional * np.sign(angle) * np.sin(2 * angle) ** 2))

    @property
    def atrium_middle(self) -> V:
        """Depth v of the middle of the left atrium in the apical views, cm."""
        return self.length + 0.15 + 1.05 * self.atrium


def chamber_labels(now: Moment[float], u: Field, v: Field) -> NDArray[np.uint8]:
    """CAMUS mask of an apical view: 0 background, 1 cavity, 2 muscle, 3 left atrium."""
    # Distances take long, and most pixels are further from the heart than its walls are.
    reach, end = max(now.radius + now.wall, now.atrium), now.atrium_middle + 1.15 * now.atrium
    near = (np.abs(u) < 1.01 * reach) & (v > -1.01 * now.wall) & (v < 1.01 * end)
    labels = np.zeros(u.shape, dtype=np.uint8)
    labels[near] = _labels_at(now, u[near], v[near])
    return labels


def _labels_at(now: Moment[float], u: Field, v: Field) -> NDArray[np.uint8]:
    """Labels of points (n,)."""
    from_base = v - now.length
    inner = np.hypot(u / _half(now, 0.0, u, from_base), from_base / now.length)
    outer = np.hypot(u / _half(now, now.wall, u, from_base), from_base / (now.length + now.wall))
    atrium = np.hypot(u / now.atrium, (v - now.atrium_middle) / (1.15 * now.atrium))
    labels = np.zeros(u.shape, dtype=np.uint8)
    labels[(outer < 1) & (from_base < 0)] = 2
    labels[(inner < 1) & (from_base < 0)] = 1
    labels[(atrium < 1) & (from_base > 0.15)] = 3
    return labels


def _half(now: Moment[float], margin: float, u: Field, from_base: Field) -> float | Field:
    """Half-width at the base of the ellipse that a point's wall is of; (n,) where walls differ."""
    if not now.regional:
        return now.radius + margin
    angle = np.arccos(np.clip(-from_base / (now.length + margin), 0, 1)) * np.sign(u)
    return np.asarray(now.radius * now._side(angle) + margin, np.float32)


def cavity_outline(now: Moment[float], v: Field) -> Field:
    """Half-width in cm of the cavity at depth v below the apex."""
    share = np.clip(v / now.length, 0, 1)
    half: Field = (now.radius * np.sqrt(1 - (1 - share) ** 2)).astype(np.float32)
    return half
