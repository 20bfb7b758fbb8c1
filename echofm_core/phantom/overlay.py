"""What machines burn into the picture: text, marks and an ECG beside the sector, colour flow in it.

Sizes are for a picture of 240 rows and grow with it.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.heart import Floats
from echofm_core.phantom.scanners import Scanner

Colour = NDArray[np.uint8]

#: Colours of text and ECG of the two machines, RGB.
INK = (((230, 230, 230), (60, 230, 80)), ((240, 200, 90), (40, 220, 160)))


def burn_in(frames: NDArray[np.uint8], phases: Floats, scanner: Scanner, machine: int) -> Colour:
    """Colour frames (N, H, W, 3) from grey ones, with the machine's overlay outside the sector.

    Args:
        frames: Uint8 (N, H, W).
        phases: (N,) phase of the beat; the ECG's R wave stands at 0.
        machine: 0 or 1: which text, which colours.
    """
    text, trace = INK[machine]
    static = _static(scanner, machine, text)
    points = _ecg(phases, scanner)
    colour = np.empty((*frames.shape, 3), np.uint8)
    for number, (grey, frame) in enumerate(zip(frames, colour, strict=True)):
        np.maximum(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), static, out=frame)
        until = 2 + number * (len(points) - 2) // max(1, len(colour) - 1)
        cv2.polylines(frame, [points[:until]], False, trace, _scale(scanner))
    return colour


def colour_flow(colour: Colour, phases: Floats, scanner: Scanner) -> Colour:
    """The same frames (N, H, W, 3) with a jet in the middle of the sector: red in, blue out."""
    apex, reach = scanner.apex, scanner.radius
    centre = (round(apex[0]), round(apex[1] + 0.55 * reach))
    axes = (round(0.07 * reach), round(0.2 * reach))
    painted = colour.copy()
    for frame, phase in zip(painted, phases, strict=True):
        ink = (210, 40, 20) if phase > 0.4 else (20, 60, 220)
        cv2.ellipse(frame, centre, axes, 0, 0, 360, ink, -1)
    return painted


def _scale(scanner: Scanner) -> int:
    return max(1, round(scanner.height / 240))


@lru_cache(maxsize=8)
def _static(scanner: Scanner, machine: int, ink: tuple[int, int, int]) -> Colour:
    """Lines of text, depth marks at the right, and on the second machine a grey bar."""
    board, scale = np.zeros((scanner.height, scanner.width, 3), np.uint8), _scale(scanner)
    lines = ("Adult Echo", "PHANTOM", f"{scanner.fps:.0f}Hz {scanner.depth:.0f}cm")
    for number, line in enumerate(lines):
        where = (4 * scale, (12 + 11 * number) * scale)
        cv2.putText(board, line, where, cv2.FONT_HERSHEY_PLAIN, 0.65 * scale, ink, scale)
    down = scanner.pixels_per_cm[1]
    for mark in range(0, int(scanner.depth) + 1, 5):
        row, right = round(scanner.apex[1] + mark * down), scanner.width - 1
        cv2.line(board, (right - 7 * scale, row), (right - 2 * scale, row), ink, scale)
    if machine == 1:
        bar = np.linspace(255, 0, 70 * scale).astype(np.uint8)[:, None, None]
        board[8 * scale : 78 * scale, -22 * scale : -14 * scale] = bar
    return board


def _ecg(phases: Floats, scanner: Scanner) -> NDArray[np.int32]:
    """Points (n, 2) of the trace along the bottom left, one a column."""
    columns, scale = np.arange(scanner.width * 2 // 5), _scale(scanner)
    beats = np.unwrap(phases, period=1.0)
    share = columns / len(columns) * (len(beats) - 1)
    phase = (np.interp(share, np.arange(len(beats)), beats) + 0.5) % 1.0 - 0.5
    wave = 16 * np.exp(-((phase / 0.02) ** 2)) + 3.5 * np.exp(-(((phase - 0.3) / 0.06) ** 2))
    wave += 2 * np.exp(-(((phase + 0.14) / 0.035) ** 2))
    rows = scanner.height - (6 + wave) * scale
    return np.stack([4 * scale + columns, rows], axis=1).astype(np.int32)
