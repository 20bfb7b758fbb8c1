"""From a drawn heart to a picture: speckle on a polar grid, scan-converted into a sector.

Scatterers are a complex Gaussian texture that rides on the tissue, so that speckle is coherent in
time. It is weighted by the tissue's amplitude and by the reflection of its interfaces, blurred by
a point-spread function that widens with depth, and its envelope is log-compressed, as in a real
machine. Clutter that does not move lies over it. ``moving.py`` draws from the same parts what moves
with chest and probe.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.anatomy import Moment, Pose
from echofm_core.phantom.canvas import Field, amplitude, to_board
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.scanners import Scanner
from echofm_core.phantom.views import View, paint

Frames = NDArray[np.uint8]

#: Samples along depth and beams of the polar grid; side of the scatterer texture.
DEPTHS, BEAMS, TEXTURE = 176, 112, 288
#: Texture samples a cm, and a knot of its patchiness, in samples.
GRAIN, KNOT = 14.0, 12
#: How many times wider the beam is at the far end than at the focus.
SPREAD = 2.6
#: How far the beam has widened at each depth.
FAR_SHARE = np.linspace(0, 1, DEPTHS, dtype=np.float32)[:, None, None]
#: Interfaces across the beam answer this much more than their step in amplitude.
SPECULAR = 1.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A rendered cine.

    Attributes:
        frames: Uint8 (N, H, W), zero outside the sector.
        phases: (N,) phase of the beat; 0 is end-diastole.
        moments: The heart at each frame.
    """

    frames: Frames
    phases: NDArray[np.float64]
    moments: tuple[Moment[float], ...]


def render(
    heart: Heart,
    view: View,
    pose: Pose,
    scanner: Scanner,
    phases: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    gain: float = 0.0,
) -> Clip:
    """Draw a cine, with speckle, clutter, noise and drop-out from ``rng``.

    Args:
        phases: (N,) phase of the beat in [0, 1) of each frame.
        gain: What the operator added to the machine's gain, dB.
    """
    x, z, loss = polar_grid(scanner)
    tissue = Scatterers(heart, rng)
    tissue.place(*pose.to_heart(x, z))
    clutter = clutter_of(scanner, rng)
    answer = loss * drop_out(scanner, rng)
    noise = rng.standard_normal((2 * DEPTHS, BEAMS), dtype=np.float32) * scanner.noise
    over = Moment.over(heart, phases)
    canvas, moments = paint(view, over), tuple(over.each())
    frames = np.empty((len(phases), scanner.height, scanner.width), dtype=np.uint8)
    envelope, before = np.empty((0, 0), np.float32), None
    for number, now in enumerate(moments):
        # A heart stands still between early filling and the atrial kick: a fifth of the frames.
        if now != before:
            echo = point_spread(tissue.scatter(canvas.board(number), now), scanner)
            echo += clutter
            envelope, before = cv2.magnitude(*cv2.split(echo)) * answer, now
        start = int(rng.integers(DEPTHS))
        polar = compress(envelope + noise[start : start + DEPTHS], scanner, gain)
        frames[number] = cv2.remap(polar, *pixel_maps(scanner), cv2.INTER_LINEAR)
    return Clip(frames=frames, phases=phases, moments=moments)


class Scatterers:
    """The scatterers of a patient's tissue, and where the beams pass them."""

    def __init__(self, heart: Heart, rng: np.random.Generator) -> None:
        self.rest = Moment.of(heart, 0.0)
        self.texture = draw_texture(rng)

    def place(self, u: Field, v: Field) -> None:
        """The beams pass the points (u, v) of the heart's frame, cm."""
        self.u, self.v = u, v
        self.board = to_board(u, v)
        # The squeeze is that of the cavity; it fades with the distance from the heart.
        away = np.hypot(u / 5, (v - self.rest.length / 2) / 7)
        self.reach = np.exp(-2 * np.clip(away - 0.6, 0, None)).astype(np.float32)
        # Lung and fat around the heart answer little.
        away = np.hypot(u / 6.0, (v - 5.5) / 8.0)
        self.fade = np.exp(-3.5 * np.clip(away - 0.8, 0, None)).astype(np.float32)

    def scatter(self, board: NDArray[np.uint8], now: Moment[float]) -> Field:
        """Complex echo before the beam's blur, float32 (DEPTHS, BEAMS, 2)."""
        wide = np.float32(0.8 * (self.rest.radius / now.radius - 1))
        long = np.float32(self.rest.length / now.length - 1)
        columns, rows = self._squeezed(self.u, wide), self._squeezed(self.v, long)
        columns += np.float32(TEXTURE / 2)
        taken = cv2.remap(self.texture, columns, rows, cv2.INTER_LINEAR, None, cv2.BORDER_WRAP)
        weight = amplitude(board, *self.board)
        step = np.minimum(cv2.absdiff(weight[1:], weight[:-1]), np.float32(1))
        step *= np.float32(SPECULAR)
        weight[:-1] += step
        if now.as_grade:
            weight *= _shadow(weight)
        weight *= self.fade
        # Both parts of a complex number have one weight; NumPy is slow on a last axis of two.
        return np.asarray(cv2.multiply(taken, cv2.merge([weight, weight])), np.float32)

    def _squeezed(self, place: Field, by: np.float32) -> Field:
        """Texture samples from its middle, once the tissue is squeezed."""
        squeezed = self.reach * by
        squeezed += 1
        squeezed *= place
        squeezed *= np.float32(GRAIN)
        return squeezed


def draw_texture(rng: np.random.Generator) -> Field:
    """Complex scatterers in tissue coordinates, denser in some places than in others."""
    knots = rng.standard_normal((TEXTURE // KNOT, TEXTURE // KNOT)).astype(np.float32)
    density = np.exp(0.55 * cv2.resize(knots, (TEXTURE, TEXTURE), interpolation=cv2.INTER_CUBIC))
    texture = rng.standard_normal((TEXTURE, TEXTURE, 2), dtype=np.float32)
    texture *= cv2.merge([density, density])
    return texture


def _shadow(amplitude: Field) -> Field:
    """What is left of the beam behind calcium: half the amplitude after a centimetre of it."""
    calcium = np.clip(amplitude - 1.6, 0, 1)
    return np.asarray(np.exp(-0.06 * (np.cumsum(calcium, axis=0) - calcium)), np.float32)


@lru_cache(maxsize=16)
def polar_grid(scanner: Scanner) -> tuple[Field, Field, Field]:
    """Scan-plane x, z in cm of the polar grid (DEPTHS, BEAMS), and gain along depth."""
    depth = np.linspace(0.02, 1, DEPTHS, dtype=np.float32)[:, None] * np.float32(scanner.depth)
    angle = np.linspace(-1, 1, BEAMS, dtype=np.float32) * np.float32(scanner.half_angle)
    loss = np.float32(10) ** (-np.float32(scanner.attenuation) / 20 * depth / scanner.depth)
    return depth * np.sin(angle), depth * np.cos(angle), loss.astype(np.float32)


@lru_cache(maxsize=16)
def pixel_maps(scanner: Scanner) -> tuple[Field, Field]:
    """For each pixel, its beam and depth sample; far outside the grid beyond the sector."""
    x, z = scanner.pixel_grid()
    reach, angle = np.hypot(x, z), np.arctan2(x, z)
    beam = (angle / scanner.half_angle + 1) / 2 * (BEAMS - 1)
    sample = (reach / scanner.depth - 0.02) / 0.98 * (DEPTHS - 1)
    outside = (np.abs(angle) > scanner.half_angle) | (reach > scanner.depth) | (z <= 0)
    beam[outside] = -100
    return beam.astype(np.float32), sample.astype(np.float32)


def point_spread(echo: Field, scanner: Scanner) -> Field:
    """A blur that is narrow at the probe and wide at depth."""
    blurred = []
    for width in (scanner.lateral, scanner.lateral * SPREAD):
        blur = np.asarray(cv2.GaussianBlur(echo, (0, 0), width, sigmaY=scanner.axial), np.float32)
        # It averages independent scatterers; what it takes from the amplitude is given back.
        blur *= np.float32(2 * np.sqrt(np.pi * width * scanner.axial))
        blurred.append(blur)
    near, far = blurred
    far -= near
    far *= FAR_SHARE
    near += far
    return near


def clutter_of(scanner: Scanner, rng: np.random.Generator) -> Field:
    """Reverberation near the probe and side lobes: static haze, (DEPTHS, BEAMS, 2)."""
    depth = np.linspace(0, scanner.depth, DEPTHS, dtype=np.float32)[:, None, None]
    profile = scanner.haze * (0.12 + np.exp(-depth / 1.3) + 0.3 * np.exp(-((depth / 4) ** 2)))
    echo = rng.standard_normal((DEPTHS, BEAMS, 2), dtype=np.float32)
    return point_spread(np.asarray(echo * profile, np.float32), scanner)


def compress(envelope: Field, scanner: Scanner, gain: float) -> NDArray[np.uint8]:
    """Log compression to uint8; a gamma keeps the dark parts dark."""
    level = np.abs(envelope)
    level += np.float32(1e-5)
    cv2.log(level, level)
    level *= np.float32(20 / np.log(10))
    level += np.float32(scanner.gain + gain + scanner.dynamic_range - 6)
    level *= np.float32(255 / scanner.dynamic_range)
    np.minimum(np.maximum(level, 0, out=level), 255, out=level)
    return np.asarray(cv2.LUT(level.astype(np.uint8), _grey_map(scanner.gamma)), np.uint8)


@lru_cache(maxsize=16)
def _grey_map(gamma: float) -> NDArray[np.uint8]:
    return ((np.arange(256) / 255) ** gamma * 240).astype(np.uint8)


def drop_out(scanner: Scanner, rng: np.random.Generator) -> Field:
    """Beams that come back weaker, (BEAMS,): ribs and poor contact, most at the sector's sides."""
    beams = np.linspace(-1, 1, BEAMS)
    shadow = 1 - 0.75 * np.abs(beams) ** 6
    for _ in range(rng.poisson(scanner.drop_out * 20)):
        centre, width = np.sign(rng.uniform(-1, 1)) * rng.uniform(0.3, 1), rng.uniform(0.06, 0.16)
        shadow *= 1 - rng.uniform(0.3, 0.85) * np.exp(-(((beams - centre) / width) ** 2))
    return shadow.astype(np.float32)
