"""What moves in a real cine beside the beat: the chest, the probe, the operator's knobs.

A hospital has a :class:`MotionRange`; each recording draws a :class:`Motion` from it, with numbers
for each of its frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.anatomy import Pose
from echofm_core.phantom.ultrasound import BEAMS

Floats = NDArray[np.float64]

#: Breaths a second, range.
BREATHS = (0.18, 0.45)
#: Seconds over which a hand or a rib wanders.
WANDER = 0.6
#: Radians that speckle turns while the plane moves by the ventricle's radius: a quarter turn, after
#: which none is the same, in about 4 mm, as thick as the beam is across the plane.
SPECKLE = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionRange:
    """How far things move at a hospital; all 0: nothing moves but the heart.

    Attributes:
        breathing: Typical travel of the heart by breathing, cm, half of it each way.
        slide: Typical speed of the probe over the chest, cm a second.
        tilt: Typical speed at which the probe turns in the plane, radians a second.
        tremor: Unsteadiness of the hand, cm.
        rocking: Typical travel of the whole heart within a beat, cm.
        elevation: Typical distance of the plane from the axis over the ventricle's radius.
        sweep: How much of that changes within the recording: the cavity's apparent size with it,
            and so the EF that the picture shows.
        torsion: Speckle that leaves the plane within a beat, as a share of all of it.
        foreshortening: Largest share of the long axis that the plane misses.
        gain: Wander of the gain, dB; ``knobs`` is how often gain or depth is changed in the middle.
        shadows: Rib shadows on average that come and go.
        wall_drop_out: Largest share of a wall's echo that a segment lacks.
        poor: Share of recordings that are hardly usable: faint, and off axis.
    """

    breathing: float = 0.0
    slide: float = 0.0
    tilt: float = 0.0
    tremor: float = 0.0
    rocking: float = 0.0
    elevation: float = 0.0
    sweep: float = 0.0
    torsion: float = 0.0
    foreshortening: float = 0.0
    gain: float = 0.0
    knobs: float = 0.0
    shadows: float = 0.0
    wall_drop_out: float = 0.0
    poor: float = 0.0


#: The hand, the chest and the knobs of an ordinary recording. With twice to four times as much,
#: which was tried first, the best network read EF with R2 0.40 at hospitals held out.
USUAL = MotionRange(
    breathing=0.4, slide=0.17, tilt=0.025, tremor=0.02, rocking=0.12, elevation=0.06, sweep=0.012,
    torsion=0.09, foreshortening=0.05, gain=0.25, knobs=0.02, shadows=0.3, wall_drop_out=0.18,
    poor=0.01,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """What moves in one recording of F frames.

    Attributes:
        x, z, turn: (F,) shift in cm and turn in radians of the heart in the plane.
        wide, long: (F,) apparent over true size of the heart.
        out: (F,) how far speckle has left the plane, radians: at a quarter turn none is the same.
        gain: (F,) dB.
        zoom: (F,) depth of the sector over that at the start.
        beams: (F, BEAMS) what ribs leave of each beam's amplitude.
        chest: (F, 2) shift of clutter, in samples across and along the beams.
        gap: Angle around the ventricle of the segment that lacks echo, its width, and its depth.
    """

    x: Floats
    z: Floats
    turn: Floats
    wide: Floats
    long: Floats
    out: Floats
    gain: Floats
    zoom: Floats
    beams: Floats
    chest: Floats
    gap: tuple[float, float, float]

    def pose(self, start: Pose, frame: int) -> Pose:
        """Where the heart lies in a frame."""
        return Pose(
            turn=start.turn + float(self.turn[frame]),
            x=start.x + float(self.x[frame]),
            z=start.z + float(self.z[frame]),
            wide=start.wide * float(self.wide[frame]),
            long=start.long * float(self.long[frame]),
        )


def draw_motion(
    of: MotionRange, seconds: Floats, filling: Floats, rng: np.random.Generator
) -> Motion:
    """The motion of a recording.

    Args:
        seconds: (F,) time of each frame.
        filling: (F,) of the ventricle, 1 at end-diastole: what moves with the beat.
    """
    poor = rng.uniform() < of.poor
    breath = _breathing(seconds, rng)
    systole = 1 - filling
    slide, direction = of.slide * rng.normal(size=2), rng.uniform(0, 2 * np.pi)
    rock = of.rocking * rng.normal(1, 0.4)
    x = 0.35 * of.breathing * breath + slide[0] * seconds + rock * np.cos(direction) * systole
    z = 0.5 * of.breathing * breath + 0.3 * slide[1] * seconds + rock * np.sin(direction) * systole
    missing = of.elevation * rng.normal() * (2.0 if poor else 1.0)
    plane = missing + of.sweep * (_wander(seconds, rng) + 0.5 * breath)
    missed = np.sqrt(1 - np.clip(plane, -0.75, 0.75) ** 2)
    short = 1 - of.foreshortening * rng.beta(1.2, 2.5) * (1.4 if poor else 1.0)
    faint = -rng.uniform(6, 14) if poor else 0.0
    gain, zoom = _knobs(of, seconds, rng)
    return Motion(
        x=x + of.tremor * _wander(seconds, rng) + (rng.normal(0, 1.5) if poor else 0.0),
        z=z + of.tremor * _wander(seconds, rng),
        turn=of.tilt * rng.normal() * seconds + 0.04 * of.breathing * breath,
        wide=missed * (1 - 0.3 * (1 - short)),
        long=short * np.sqrt(missed),
        out=of.torsion * systole * np.pi / 2 + SPECKLE * (plane - plane[:1]),
        gain=gain + faint,
        zoom=zoom,
        beams=_shadows(of.shadows, seconds, breath, rng),
        chest=np.stack([2.5 * x, 3.0 * of.breathing * breath], axis=1),
        gap=(
            float(rng.uniform(-np.pi / 2, np.pi / 2)),
            float(rng.uniform(0.25, 0.6)),
            float(of.wall_drop_out * rng.beta(1.5, 1.5)),
        ),
    )


def _breathing(seconds: Floats, rng: np.random.Generator) -> Floats:
    """(F,), about -1 to 1: slow at the end of each breath, of a random depth (or held: 0)."""
    if rng.uniform() < 0.15:
        return np.zeros_like(seconds)
    rate, start = rng.uniform(*BREATHS), rng.uniform()
    share = (start + rate * seconds) % 1.0
    wave = 1 - 2 * np.sin(np.pi * share) ** 3
    return np.asarray(wave * rng.lognormal(-0.1, 0.4))


def _wander(seconds: Floats, rng: np.random.Generator) -> Floats:
    """(F,), smooth noise of unit spread that is 0 in the first frame."""
    rates = rng.uniform(0.2, 1.0, 4) / WANDER
    waves = np.sin(2 * np.pi * (rates * seconds[:, None] + rng.uniform(size=4)))
    walk = waves @ rng.normal(0, 0.7, 4)
    return np.asarray(walk - walk[0])


def _knobs(of: MotionRange, seconds: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(F,) gain in dB and (F,) depth over that at the start: one step of either, now and then."""
    gain, zoom = of.gain * _wander(seconds, rng), np.ones_like(seconds)
    if rng.uniform() < of.knobs:
        after = seconds > rng.uniform(0.25, 0.75) * seconds[-1]
        if rng.uniform() < 0.5:
            gain = gain + after * rng.choice([-1, 1]) * rng.uniform(3, 7)
        else:
            zoom = np.where(after, rng.choice([0.88, 1.14]), 1.0)
    return np.asarray(gain), zoom


def _shadows(often: float, seconds: Floats, breath: Floats, rng: np.random.Generator) -> Floats:
    """(F, BEAMS): ribs move with the chest, and cover more or less of the beams."""
    beams, left = np.linspace(-1, 1, BEAMS), np.ones((len(seconds), BEAMS))
    for _ in range(rng.poisson(often)):
        middle = rng.uniform(-1, 1) + 0.15 * breath + 0.05 * _wander(seconds, rng)
        depth = rng.uniform(0.3, 0.9) * (0.5 + 0.5 * np.clip(rng.choice([-1, 1]) * breath, -1, 1))
        width = rng.uniform(0.06, 0.2)
        left *= 1 - depth[:, None] * np.exp(-(((beams - middle[:, None]) / width) ** 2))
    return left
