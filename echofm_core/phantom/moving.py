"""Cines in which more moves than the heart: chest, probe and knobs, by a :class:`Motion`.

As ``ultrasound.py``, but where the heart lies, what the plane shows of it, what lies over it and
how bright it is are each frame's own. Strong echoes leak to their sides, and machines keep part of
the frame before and lift edges.
"""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.anatomy import Moment, Pose
from echofm_core.phantom.canvas import Field
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.motion import Motion
from echofm_core.phantom.scanners import Scanner
from echofm_core.phantom.ultrasound import (
    BEAMS,
    DEPTHS,
    Clip,
    Scatterers,
    clutter_of,
    compress,
    draw_texture,
    drop_out,
    pixel_maps,
    point_spread,
    polar_grid,
)
from echofm_core.phantom.views import View, paint

#: Beams over which side lobes spread.
LOBE = 9.0


def render_moving(
    heart: Heart,
    view: View,
    pose: Pose,
    scanner: Scanner,
    beats: tuple[NDArray[np.float64], NDArray[np.float64]],
    motion: Motion,
    rng: np.random.Generator,
    *,
    gain: float = 0.0,
) -> Clip:
    """Draw a cine, with speckle, clutter, noise and drop-out from ``rng``.

    Args:
        pose: Where the heart lies in the first frame.
        beats: (N,) phase of the beat and (N,) its stroke over the usual one, of each frame.
        motion: Of N frames.
        gain: What the operator added to the machine's gain, dB.
    """
    tissue, second = Scatterers(heart, rng), draw_texture(rng)
    first = tissue.texture
    clutter, beams = clutter_of(scanner, rng), drop_out(scanner, rng)
    noise = rng.standard_normal((2 * DEPTHS, BEAMS), dtype=np.float32) * scanner.noise
    over = Moment.over(heart, *beats)
    canvas, moments = paint(view, over), tuple(over.each())
    frames = np.empty((len(moments), scanner.height, scanner.width), dtype=np.uint8)
    before: Field | None = None
    for number, now in enumerate(moments):
        machine = replace(scanner, depth=scanner.depth * float(motion.zoom[number]))
        x, z, loss = polar_grid(machine)
        tissue.place(*motion.pose(pose, number).to_heart(x, z))
        tissue.fade *= _gap(tissue, *motion.gap)
        share = np.float32(motion.out[number])
        tissue.texture = np.cos(share) * first + np.sin(share) * second
        echo = tissue.scatter(canvas.board(number), now)
        if scanner.side_lobes:
            echo += np.float32(scanner.side_lobes) * _leak(echo)
        echo = point_spread(echo, scanner)
        echo += _shifted(clutter, motion.chest[number])
        answer = loss * beams * motion.beams[number].astype(np.float32)
        envelope = cv2.magnitude(*cv2.split(echo)) * answer
        start = int(rng.integers(DEPTHS))
        envelope = envelope + noise[start : start + DEPTHS]
        if before is not None and scanner.persistence and before.shape == envelope.shape:
            envelope = envelope + np.float32(scanner.persistence) * (before - envelope)
        before = envelope
        polar = compress(envelope, scanner, gain + float(motion.gain[number]))
        if scanner.sharpness:
            lift, soft = scanner.sharpness, cv2.GaussianBlur(polar, (0, 0), 2.0)
            polar = np.asarray(cv2.addWeighted(polar, 1 + lift, soft, -lift, 0), np.uint8)
        frames[number] = cv2.remap(polar, *pixel_maps(machine), cv2.INTER_LINEAR)
    return Clip(frames=frames, phases=beats[0], moments=moments)


def _gap(tissue: Scatterers, angle: float, width: float, depth: float) -> Field:
    """What is left of the echo where a segment of the ventricle's wall lies along the beams."""
    away = np.arctan2(tissue.u, tissue.rest.length - tissue.v) - np.float32(angle)
    left = 1 - depth * np.exp(-((away / np.float32(width)) ** 2)) * (tissue.v < tissue.rest.length)
    return np.asarray(left, np.float32)


def _leak(echo: Field) -> Field:
    """Strong echoes beside themselves, at the same depth."""
    size = cv2.magnitude(*cv2.split(echo))
    strong = np.where(size > 1.0, 1.0, 0.0).astype(np.float32)
    part = cv2.multiply(echo, cv2.merge([strong, strong]))
    blurred = cv2.GaussianBlur(part, (0, 0), LOBE, sigmaY=0.5)
    return np.asarray(blurred * np.float32(2 * np.sqrt(np.pi * LOBE)), np.float32)


def _shifted(clutter: Field, by: NDArray[np.float64]) -> Field:
    """Clutter that moves with the chest: the probe's own haze moves a little, along the beams."""
    move = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float32)
    shape = (BEAMS, DEPTHS)
    moved = cv2.warpAffine(clutter, move, shape, None, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
    return np.asarray(moved, np.float32)
