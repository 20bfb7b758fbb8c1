"""A heart: its volumes over a beat, and the shape of the left ventricle that has them exactly.

The left ventricle is half a prolate ellipsoid of long axis L and base radius a. Its volume is
2/3 pi a^2 L, which is also what the area-length formula 8 A^2 / (3 pi L) gives for its half-ellipse
section of area A = pi a L / 2: labels and pictures agree without rounding.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Share of a beat that is systole, early filling, and the start of the atrial kick.
END_SYSTOLE, END_EARLY_FILLING, ATRIAL_KICK = 0.36, 0.62, 0.86
#: How far early filling gets; the atrial kick does the rest.
EARLY_FILLING = 0.78


@dataclass(frozen=True, kw_only=True, slots=True)
class Heart:
    """One patient's heart.

    Attributes:
        edv: End-diastolic volume of the left ventricle, ml.
        ef: Ejection fraction, percent.
        rate: Heart rate, beats a minute.
        slenderness: Long axis over what is typical for the volume, about 1.
        wall: Wall thickness at end-diastole, cm.
        as_grade: Aortic stenosis, 0 (none) to 4 (severe).
        regional: What the middle of one wall does more than that of the wall across at
            end-systole, as a share of its distance squared from the long axis, -0.8 to 0.8; the
            volume is the same. 0.5 leaves the one nearly still.
    """

    edv: float
    ef: float
    rate: float
    slenderness: float = 1.0
    wall: float = 0.95
    as_grade: int = 0
    regional: float = 0.0

    @property
    def esv(self) -> float:
        """End-systolic volume, ml."""
        return self.edv * (1 - self.ef / 100)

    def phase(self, seconds: Floats, start: float) -> Floats:
        """Phase of the beat in [0, 1) at each time; 0 is end-diastole."""
        return (start + seconds * self.rate / 60) % 1.0

    def filling(self, phase: Floats) -> Floats:
        """Filling in [0, 1]: 1 at end-diastole, 0 at end-systole; smooth, one beat periodic."""
        systole = _ease(1 - phase / END_SYSTOLE)
        early = EARLY_FILLING * _ease((phase - END_SYSTOLE) / (END_EARLY_FILLING - END_SYSTOLE))
        kick = (1 - EARLY_FILLING) * _ease((phase - ATRIAL_KICK) / (1 - ATRIAL_KICK))
        return np.where(phase < END_SYSTOLE, systole, early + kick)

    def volume(self, phase: Floats) -> Floats:
        """Left-ventricular volume, ml."""
        return self.esv + (self.edv - self.esv) * self.filling(phase)

    def length(self, volume: Floats) -> Floats:
        """Long axis L in cm: shortens less than the radius, as hearts do."""
        full = 8.6 * (self.edv / 120) ** (1 / 3) * self.slenderness
        return np.asarray(full * _power(volume / self.edv, 0.22))

    def radius(self, volume: Floats) -> Floats:
        """Base radius a in cm; with :meth:`length` it gives the volume exactly."""
        return np.sqrt(1.5 * volume / (math.pi * self.length(volume)))

    def thickness(self, volume: Floats) -> Floats:
        """Wall thickness in cm; muscle keeps its volume, so it thickens as the cavity empties."""
        full = self.radius(np.asarray(self.edv))
        return self.wall * _power(full / self.radius(volume), 0.9)

    def valve_opening(self, phase: Floats) -> Floats:
        """Aortic valve, 0 closed to 1 wide open in systole; stenosis limits it."""
        most = (1.0, 0.75, 0.6, 0.42, 0.22)[self.as_grade]
        return np.asarray(most * _bump(phase, 0.0, END_SYSTOLE) * (phase < END_SYSTOLE))

    def mitral_opening(self, phase: Floats) -> Floats:
        """Mitral valve, 0 closed to 1 open: early filling and the atrial kick."""
        filling = (phase > END_SYSTOLE) & (phase < END_SYSTOLE + 0.3)
        early = _bump(phase, END_SYSTOLE, 0.3) * filling
        kick = 0.6 * _bump(phase, ATRIAL_KICK, 0.14) * (phase > ATRIAL_KICK)
        return np.clip(early + kick + 0.15 * (phase > END_SYSTOLE), 0, 1)


def draw_beats(
    heart: Heart, seconds: Floats, irregular: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """A rhythm whose beats differ: a longer pause fills more, and the next beat is stronger.

    Args:
        seconds: (F,) time of each frame.
        irregular: Spread of the beats' lengths over their mean, about 0.03 in health and 0.25 in
            atrial fibrillation.

    Returns:
        (F,) phase of the beat, and (F,) stroke of the beat over the usual one, 1 on average.
    """
    usual, start = 60 / heart.rate, rng.uniform()
    many = int(seconds[-1] / usual / 0.5) + 3
    ratios = np.clip(rng.normal(1, irregular, many), 0.55, 1.6)
    ends = np.cumsum(ratios * usual) - start * ratios[0] * usual
    beat = np.searchsorted(ends, seconds, side="right")
    phases = 1 - (ends[beat] - seconds) / (ratios[beat] * usual)
    before = np.concatenate([[1.0], ratios[:-1]])
    strength = np.clip(1 + 0.7 * (before - 1), 0.5, 1.25)
    return np.clip(phases, 0, 1 - 1e-9), strength[beat]


def draw_heart(rng: np.random.Generator, ef_mean: float, ef_sd: float, as_grade: int = 0) -> Heart:
    """A random heart of an institution with this prior of EF, in percent.

    Volumes are log-normal, and a weak heart is larger; severe stenosis thickens the wall.
    """
    ef = float(np.clip(rng.normal(ef_mean, ef_sd), 12, 78))
    dilated = 1 + 0.012 * max(0.0, 50 - ef)
    return Heart(
        edv=float(np.clip(105 * dilated * rng.lognormal(0, 0.22), 50, 320)),
        ef=ef,
        rate=float(np.clip(rng.normal(70, 10), 50, 100)),
        slenderness=float(np.clip(rng.normal(1, 0.05), 0.88, 1.12)),
        wall=float(np.clip(rng.normal(0.95 + 0.06 * as_grade, 0.1), 0.7, 1.5)),
        as_grade=as_grade,
    )


def _power(base: Floats, exponent: float) -> Floats:
    """One by one: NumPy rounds the power of an array otherwise than that of a number."""
    powers = [value**exponent for value in np.ravel(base).tolist()]
    return np.reshape(powers, np.shape(base))


def _bump(phase: Floats, start: float, width: float) -> Floats:
    """The upper half of a sine wave that begins at a phase; what follows is for the caller."""
    return np.clip(np.sin(np.pi * (phase - start) / width), 0, None)


def _ease(share: Floats) -> Floats:
    """Half a cosine from 0 to 1, flat at both ends."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0, 1))
