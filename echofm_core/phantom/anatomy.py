"""What the beam meets: echogenicity of a heart in a view, at points of the scan plane.

Coordinates are cm in the scan plane: x to the right of the picture, z down from the probe. A pose
turns and shifts the heart; all shapes are written in the heart's own frame, where the long axis
of the left ventricle points down from its apex at the origin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.heart import Heart

Field = NDArray[np.float32]

#: Echogenicity (amplitude) of what is met; blood is nearly black.
BLOOD, MUSCLE, LINING, VALVE, CALCIUM, OUTSIDE = 0.012, 0.30, 0.85, 0.95, 3.2, 0.10


class View(StrEnum):
    """Views that the phantom can show."""

    A4C = "A4C"
    A2C = "A2C"
    PLAX = "PLAX"
    PSAX = "PSAX"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where the heart lies: ``turn`` in radians, ``x`` and ``z`` of the apex in cm."""

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
        return cosine * u - sine * v + np.float32(self.x), sine * u + cosine * v + np.float32(
            self.z
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A heart at one phase of its beat; lengths in cm, openings in [0, 1]."""

    radius: float
    length: float
    wall: float
    mitral: float
    aortic: float
    filling: float
    as_grade: int

    @classmethod
    def of(cls, heart: Heart, phase: float) -> Moment:
        """The heart at a phase."""
        at = np.asarray(phase, dtype=np.float64)
        volume = heart.volume(at)
        return cls(
            radius=float(heart.radius(volume)),
            length=float(heart.length(volume)),
            wall=float(heart.thickness(volume)),
            mitral=float(heart.mitral_opening(at)),
            aortic=float(heart.valve_opening(at)),
            filling=float(heart.filling(at)),
            as_grade=heart.as_grade,
        )


def echogenicity(view: View, now: Moment, u: Field, v: Field) -> Field:
    """Amplitude of the scatterers at points (u, v) of the heart's frame, float32, any shape."""
    match view:
        case View.A4C:
            field = _apical(now, u, v, right_heart=True)
        case View.A2C:
            field = _apical(now, u, v, right_heart=False)
        case View.PLAX:
            field = _long_axis(now, u, v)
        case View.PSAX:
            field = _short_axis(now, u, v)
    seen: Field = field * _fade(u, v)
    return seen


def _fade(u: Field, v: Field) -> Field:
    """Lung and fat around the heart answer little: echoes fade away from its middle."""
    away = np.hypot(u / 5.5, (v - 5.0) / 7.5)
    faded: Field = np.exp(-2.2 * np.clip(away - 0.75, 0, None)).astype(np.float32)
    return faded


def chamber_labels(now: Moment, u: Field, v: Field) -> NDArray[np.uint8]:
    """CAMUS mask of an apical view: 0 background, 1 cavity, 2 muscle, 3 left atrium."""
    inner, outer = _shells(now, u, v)
    labels = np.zeros(u.shape, dtype=np.uint8)
    labels[(outer < 1) & (v < now.length)] = 2
    labels[inner < 1] = 1
    labels[_atrium(now, u, v) < 1] = 3
    return labels


def cavity_outline(now: Moment, v: Field) -> Field:
    """Half-width in cm of the cavity at depth v below the apex."""
    share = np.clip(v / now.length, 0, 1)
    half: Field = (now.radius * np.sqrt(1 - (1 - share) ** 2)).astype(np.float32)
    return half


def material(now: Moment, rest: Moment, u: Field, v: Field) -> tuple[Field, Field]:
    """Where the tissue at (u, v) was at end-diastole: speckle rides on it.

    The squeeze is that of the cavity and fades with the distance from it.
    """
    reach = np.exp(-np.clip(np.hypot(u / 5.0, (v - now.length / 2) / 7.0) - 0.6, 0, None) * 2.0)
    wide = 1 + (rest.radius / now.radius - 1) * reach * 0.8
    long = 1 + (rest.length / now.length - 1) * reach
    return (u * wide).astype(np.float32), (v * long).astype(np.float32)


def _shells(now: Moment, u: Field, v: Field) -> tuple[Field, Field]:
    """Below 1 inside the cavity, and inside the muscle's outer border."""
    from_base = v - now.length
    inner = np.where(from_base < 0, np.hypot(u / now.radius, from_base / now.length), 2.0)
    outer = np.hypot(u / (now.radius + now.wall), from_base / (now.length + now.wall))
    return inner.astype(np.float32), np.where(from_base < 0, outer, 2.0).astype(np.float32)


def _atrium(now: Moment, u: Field, v: Field) -> Field:
    size = 1.75 + 0.5 * (1 - now.filling)
    below = v - now.length - 0.15
    shape = np.hypot(u / size, (below - size * 1.05) / (size * 1.15))
    return np.where(below > 0, shape, 2.0).astype(np.float32)


def _apical(now: Moment, u: Field, v: Field, *, right_heart: bool) -> Field:
    inner, outer = _shells(now, u, v)
    field = np.full(u.shape, OUTSIDE, dtype=np.float32)
    field[outer < 1.12] = LINING * 0.8  # pericardium
    field[outer < 1] = MUSCLE
    if right_heart:
        shift = u + now.radius + now.wall + 1.25
        right = np.hypot(shift / 1.3, (v - now.length * 0.98) / (now.length * 0.62))
        field[(right < 1.16) & (outer >= 1)] = MUSCLE
        field[(right < 1) & (outer >= 1) & (v < now.length)] = BLOOD
        atrium = np.hypot(shift / 1.8, (v - now.length - 2.2) / 2.0)
        field[(atrium < 1.1) & (v > now.length)] = MUSCLE * 0.8
        field[(atrium < 1) & (v > now.length + 0.2)] = BLOOD
    left = _atrium(now, u, v)
    field[left < 1.12] = MUSCLE * 0.9
    field[left < 1] = BLOOD
    field[(inner < 1.08) & (outer < 1)] = LINING
    field[inner < 1] = BLOOD
    _leaflets(field, u, v - now.length, now.radius, now.mitral, VALVE)
    return field


def _leaflets(
    field: Field, u: Field, v: Field, reach: float, opening: float, amount: float
) -> None:
    """Two leaflets hinged at +-reach: they meet at v = 0, or hang into v < 0 when open."""
    along = reach - np.abs(u)
    hinge = opening * 1.1
    line = -np.clip(along, 0, reach * 0.9) * math.tan(hinge)
    tip = reach * (1 - 0.96 * math.cos(hinge) if opening > 0.02 else 0.0)
    near = (np.abs(v - line) * math.cos(hinge) < 0.11) & (along > 0) & (np.abs(u) > tip)
    field[near] = amount


def _long_axis(now: Moment, u: Field, v: Field) -> Field:
    """Parasternal long axis: cavity lying on its side, aorta and left atrium to the right."""
    # The heart's axis runs to the left of the picture here; base at u = +1.
    axis, across = 1.5 - u, v - 4.2
    inner, outer = _shells(now, across, now.length - axis)
    field = np.full(u.shape, OUTSIDE, dtype=np.float32)
    right = np.hypot((u + 0.5) / 4.2, (v - 1.3) / 0.85)
    field[right < 1.15] = MUSCLE
    field[right < 1] = BLOOD
    field[(outer < 1.1) & (axis > 0)] = LINING * 0.8
    field[(outer < 1) & (axis > 0)] = MUSCLE
    atrium = np.hypot((u - 3.8) / 2.0, (v - 5.9) / 1.55)
    field[atrium < 1.12] = MUSCLE
    field[atrium < 1] = BLOOD
    root = (u > 1.4) & (np.abs(v - 3.2) < 1.45) & (u < 6.5)
    field[root] = LINING
    field[root & (np.abs(v - 3.2) < 1.2)] = BLOOD
    field[(inner < 1.08) & (outer < 1)] = LINING
    field[inner < 1] = BLOOD
    _leaflets(field, v - 5.4, 1.7 - u + 0.0, 1.3, now.mitral, VALVE)
    _aortic_cusps(field, u - 2.3, v - 3.2, now)
    return field


def _aortic_cusps(field: Field, along: Field, across: Field, now: Moment) -> None:
    """Two cusps in the aortic root: thin and wide open in health, thick, bright and stiff in AS."""
    half = 0.08 + 0.07 * now.as_grade
    where = 1.15 * now.aortic
    cusp = (np.abs(along) < 0.55) & (np.abs(np.abs(across) - where) < half)
    field[cusp] = VALVE + (CALCIUM - VALVE) * now.as_grade / 4
    lump = np.hypot(along, np.abs(across) - where - 0.1) < 0.14 * now.as_grade
    field[lump] = CALCIUM


def _short_axis(now: Moment, u: Field, v: Field) -> Field:
    """Parasternal short axis at the papillary level, with the aortic valve's ring beside it."""
    down = v - 5.6
    ring = np.hypot(u, down)
    field = np.full(u.shape, OUTSIDE, dtype=np.float32)
    right = np.hypot((u + 2.6) / 2.9, (down + 1.4) / 2.6)
    field[right < 1.1] = MUSCLE
    field[right < 1] = BLOOD
    field[ring < now.radius + now.wall + 0.18] = LINING * 0.8
    field[ring < now.radius + now.wall] = MUSCLE
    field[ring < now.radius + 0.1] = LINING
    field[ring < now.radius] = BLOOD
    for side in (-1, 1):
        muscle = np.hypot(u - side * now.radius * 0.62, down - now.radius * 0.62)
        field[muscle < 0.42] = MUSCLE
    across, along = u - 1.2, v - 1.9
    root = np.hypot(across, along)
    field[root < 1.4] = LINING
    field[root < 1.2] = BLOOD
    angle = np.arctan2(along, across)
    half = 0.09 + 0.07 * now.as_grade
    for cusp in (math.pi / 2, math.pi * 7 / 6, -math.pi / 6):
        turned = np.abs(np.angle(np.exp(1j * (angle - cusp - 0.5 * now.aortic))))
        spoke = (root * np.sin(np.clip(turned, 0, math.pi / 2)) < half) & (turned < math.pi / 2)
        closed = root < 1.2 if now.aortic < 0.1 else root > 1.2 * now.aortic
        field[spoke & closed & (root < 1.2)] = VALVE + (CALCIUM - VALVE) * now.as_grade / 4
    return field
