"""How phantoms move, beside the one real cine that a package ships: a table and a contact sheet.

``python -m benchmarks.phantom_motion [--patients 12] [--sheet FILE.png]``: hearts of the public
layouts' writer (nothing moves but the heart) and of each synthetic hospital, against pydicom's
apical four-chamber cine, 30 frames of it. All are brought to 30 frames a second, one second, and a
sector 120 pixels high. It judges nothing: one cine is no distribution.

``flow in`` and ``out``: mean length of the optical flow (Farneback) inside the left ventricle and
in the rest of the sector where there is echo, in sector heights a second. ``slow``: share of the
power of the grey values over time that is below 2.5 Hz. ``alike``: correlation of frames a second
apart where there is echo. ``grey``: mean grey inside and outside the ventricle.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from benchmarks._command import command_line, file_to_write
from echofm_core.data.dicom.frames import read_cine
from echofm_core.phantom.anatomy import chamber_labels
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.hospitals import HOSPITALS, examine_at
from echofm_core.phantom.patients import Exam, examine
from echofm_core.phantom.scanners import ECHONET
from echofm_core.phantom.views import View
from echofm_core.runtime.randomness import stream

Frames = NDArray[np.uint8]
#: Side of a sector, frames a second, and frames that are looked at.
HEIGHT, RATE, LENGTH = 120, 30.0, 30
#: The real cine: rows and columns of its sector; ellipse of its ventricle, in pixels.
REAL, BOX = "examples_ybr_color.dcm", (slice(24, 206), slice(60, 282))
VENTRICLE = ((181, 95), (23, 40), 0.0)
COLUMNS = ("flow in", "flow out", "slow", "alike", "grey in", "grey out")


def real() -> tuple[Frames, NDArray[np.bool_]]:
    """Frames of the real cine, and where its ventricle is."""
    frames = read_cine(Path(str(get_testdata_file(REAL)))).frames
    inside = np.zeros(frames.shape[1:], np.uint8)
    middle, axes, turn = VENTRICLE
    cv2.ellipse(inside, middle, axes, turn, 0, 360, 1, -1)
    return frames[(slice(None), *BOX)], inside[BOX] > 0


def drawn(exam: Exam) -> tuple[Frames, NDArray[np.bool_]]:
    """Frames of a phantom, and where its ventricle is at first."""
    u, v = exam.pose.to_heart(*exam.scanner.pixel_grid())
    return exam.clip.frames, chamber_labels(exam.clip.moments[0], u, v) == 1


def figures(frames: Frames, inside: NDArray[np.bool_], fps: float) -> tuple[float, ...]:
    """What the columns say of one cine."""
    picked = np.rint(np.arange(LENGTH) * fps / RATE).astype(int)
    picked = picked[picked < len(frames)]
    size = (round(frames.shape[2] * HEIGHT / frames.shape[1]), HEIGHT)
    small = np.stack([cv2.resize(frames[n], size, interpolation=cv2.INTER_AREA) for n in picked])
    mask = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    seen = (small.max(axis=0) > 40) & ~mask
    lengths = []
    for first, second in pairwise(small):
        flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 13, 3, 5, 1.1, 0)
        lengths.append(np.hypot(flow[..., 0], flow[..., 1]))
    speed = np.mean(lengths, axis=0) * RATE / HEIGHT
    grey = small.astype(np.float64)
    power = np.abs(np.fft.rfft(grey[:, seen] - grey[:, seen].mean(axis=0), axis=0)) ** 2
    rates = np.fft.rfftfreq(len(small), 1 / RATE)
    slow = power[rates < 2.5].sum() / power.sum()
    alike = np.corrcoef(grey[0][seen], grey[-1][seen])[0, 1]
    return (
        float(speed[mask].mean()), float(speed[seen].mean()), float(slow), float(alike),
        float(grey[:, mask].mean()), float(grey[:, seen].mean()),
    )  # fmt: skip


def groups(patients: int) -> Iterator[tuple[str, list[tuple[Frames, NDArray[np.bool_], float]]]]:
    """Cines by where they come from: the real one, the still scanner's, each hospital's."""
    yield "real (pydicom)", [(*real(), 30.0)]
    still = []
    for number in range(patients):
        rng = stream(0, "still", number, "benchmark")
        exam = examine(draw_heart(rng, 56, 13), View.A4C, ECHONET, 75, rng)
        still.append((*drawn(exam), exam.scanner.fps))
    yield "echonet layout", still
    for hospital in HOSPITALS:
        rngs = [stream(0, hospital.name, number, "benchmark") for number in range(patients)]
        exams = [examine_at(hospital, rng) for rng in rngs]
        yield hospital.name, [(*drawn(exam), exam.scanner.fps) for exam in exams]


def strip(frames: Frames, fps: float) -> Frames:
    """Six frames and an M-mode along the middle column, side by side."""
    times = np.linspace(0, min(len(frames) - 1, fps), 6).astype(int)
    tiles = [cv2.resize(frames[n], (160, 160), interpolation=cv2.INTER_AREA) for n in times]
    middle = np.ascontiguousarray(frames[: int(fps) + 1, :, frames.shape[2] // 2].T)
    return np.asarray(np.hstack([*tiles, cv2.resize(middle, (320, 160))]), np.uint8)


def main() -> None:
    parser = command_line(__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=12, help="of each hospital (default 12)")
    parser.add_argument(
        "--sheet", type=file_to_write, help="PNG: two cines of each, and their M-modes"
    )
    options = parser.parse_args()
    print(f"{'':16}" + "".join(f"{name:>18}" for name in COLUMNS))
    rows = []
    for name, cines in groups(options.patients):
        found = np.array([figures(*cine) for cine in cines])
        low, middle, high = np.percentile(found, [10, 50, 90], axis=0)
        cells = (
            f"{middle[n]:.2f}" + (f" {low[n]:.2f}-{high[n]:.2f}" if len(cines) > 1 else "")
            for n in range(len(COLUMNS))
        )
        print(f"{name:16}" + "".join(f"{cell:>18}" for cell in cells))
        for frames, _, fps in cines[:2]:
            row = strip(frames, fps)
            cv2.putText(row, name, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
            rows.append(row)
    if options.sheet:
        cv2.imwrite(str(options.sheet), np.vstack(rows))


if __name__ == "__main__":
    main()
