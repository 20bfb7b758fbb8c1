"""From echogenicity to a picture: speckle on a polar grid, scan-converted into a sector.

Scatterers are a complex Gaussian texture that rides on the tissue, so that speckle is coherent in
time. It is weighted by echogenicity, blurred by a point-spread function that widens with depth,
and its envelope is log-compressed, as in a real machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.anatomy import Moment, Pose, View, echogenicity, material
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.scanners import Scanner

Frames = NDArray[np.uint8]

#: Samples along depth and beams of the polar grid; sides of the scatterer texture.
DEPTHS, BEAMS, TEXTURE = 176, 112, 512
#: Texture samples a cm.
GRAIN = 14.0
#: How many times wider the beam is at the far end than at the focus.
SPREAD = 2.6


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
    moments: tuple[Moment, ...]


def render(
    heart: Heart,
    view: View,
    pose: Pose,
    scanner: Scanner,
    phases: NDArray[np.float64],
    rng: np.random.Generator,
) -> Clip:
    """Draw a cine.

    Args:
        heart: What is seen.
        view: From where.
        pose: How it lies.
        scanner: With which machine.
        phases: (N,) phase of the beat in [0, 1) of each frame.
        rng: Source of speckle, noise and drop-out.
    """
    texture = rng.standard_normal((TEXTURE, TEXTURE, 2)).astype(np.float32)
    shadow = _drop_out(scanner, rng)
    x, z, gain = _polar(scanner)
    u, v = pose.to_heart(x, z)
    rest = Moment.of(heart, 0.0)
    moments = tuple(Moment.of(heart, float(phase)) for phase in phases)
    frames = np.empty((len(phases), scanner.height, scanner.width), dtype=np.uint8)
    for number, now in enumerate(moments):
        amplitude = cv2.GaussianBlur(echogenicity(view, now, u, v), (3, 3), 0.6)
        echo = _scatter(texture, *material(now, rest, u, v)) * amplitude[..., None]
        envelope = _point_spread(echo, scanner) * gain * shadow
        noise = rng.standard_normal(envelope.shape, dtype=np.float32)
        frames[number] = _scan_convert(_compress(envelope, noise, scanner), scanner)
    return Clip(frames=frames, phases=phases, moments=moments)


@lru_cache(maxsize=16)
def _polar(scanner: Scanner) -> tuple[NDArray[np.float32], ...]:
    """Scan-plane x, z in cm of the polar grid (DEPTHS, BEAMS), and gain along depth."""
    depth = np.linspace(0.02, 1, DEPTHS, dtype=np.float32)[:, None] * np.float32(scanner.depth)
    angle = np.linspace(-1, 1, BEAMS, dtype=np.float32) * np.float32(scanner.half_angle)
    loss = np.float32(10) ** (-np.float32(scanner.attenuation) / 20 * depth / scanner.depth)
    near = np.clip(depth / 1.2, 0.25, 1)
    return depth * np.sin(angle), depth * np.cos(angle), (loss * near).astype(np.float32)


@lru_cache(maxsize=16)
def _maps(scanner: Scanner) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each pixel, its beam and depth sample; far outside the grid beyond the sector."""
    x, z = scanner.pixel_grid()
    reach, angle = np.hypot(x, z), np.arctan2(x, z)
    beam = (angle / scanner.half_angle + 1) / 2 * (BEAMS - 1)
    sample = (reach / scanner.depth - 0.02) / 0.98 * (DEPTHS - 1)
    outside = (np.abs(angle) > scanner.half_angle) | (reach > scanner.depth) | (z <= 0)
    beam[outside] = -100
    return beam.astype(np.float32), sample.astype(np.float32)


def _scatter(
    texture: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Complex scatterers at tissue points, (DEPTHS, BEAMS, 2); the texture repeats."""
    across = (u * GRAIN + TEXTURE / 2).astype(np.float32)
    along = (v * GRAIN).astype(np.float32)
    found = cv2.remap(texture, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.asarray(found, np.float32)


def _point_spread(echo: NDArray[np.float32], scanner: Scanner) -> NDArray[np.float32]:
    """Envelope after a blur that is narrow at the probe and wide at depth."""
    near, far = (
        np.asarray(cv2.GaussianBlur(echo, (0, 0), width, sigmaY=scanner.axial), np.float32)
        for width in (scanner.lateral, scanner.lateral * SPREAD)
    )
    # A blur averages independent scatterers; what it takes from the amplitude is given back.
    near *= np.float32(2 * np.sqrt(np.pi * scanner.lateral * scanner.axial))
    far *= np.float32(2 * np.sqrt(np.pi * scanner.lateral * SPREAD * scanner.axial))
    share = np.linspace(0, 1, DEPTHS, dtype=np.float32)[:, None, None]
    mixed = near * (1 - share) + far * share
    return np.asarray(cv2.magnitude(mixed[..., 0], mixed[..., 1]), np.float32)


def _compress(
    envelope: NDArray[np.float32], noise: NDArray[np.float32], scanner: Scanner
) -> NDArray[np.uint8]:
    """Log compression to uint8."""
    level = np.abs(envelope + scanner.noise * noise) + 1e-5
    decibel = 20 * np.log10(level) + scanner.gain
    share = (decibel + scanner.dynamic_range - 6) / scanner.dynamic_range
    return (np.clip(share, 0, 1) ** 1.35 * 235).astype(np.uint8)


def _scan_convert(polar: NDArray[np.uint8], scanner: Scanner) -> NDArray[np.uint8]:
    beam, sample = _maps(scanner)
    picture = cv2.remap(polar, beam, sample, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(picture, np.uint8)


def _drop_out(scanner: Scanner, rng: np.random.Generator) -> NDArray[np.float32]:
    """Beams that come back weaker, (BEAMS,): ribs and poor contact at the sector's sides."""
    shadow = np.ones(BEAMS, dtype=np.float32)
    for _ in range(rng.poisson(scanner.drop_out * 20)):
        centre, width = rng.uniform(-1, 1), rng.uniform(0.04, 0.12)
        beams = np.linspace(-1, 1, BEAMS)
        shadow *= 1 - rng.uniform(0.3, 0.85) * np.exp(-(((beams - centre) / width) ** 2))
    return shadow.astype(np.float32)
