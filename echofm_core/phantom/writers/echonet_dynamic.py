"""EchoNet-Dynamic as downloaded: MJPG AVI, FileList.csv and VolumeTracings.csv."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echofm_core.console import Meter
from echofm_core.phantom.anatomy import Moment, Pose, View, cavity_outline
from echofm_core.phantom.patients import Institution, examine, new_heart, write_table
from echofm_core.phantom.scanners import ECHONET, Scanner

EF_MEAN, EF_SD = 56.0, 13.0
#: Discs of one tracing; with the long axis that makes 21 rows a frame.
DISCS = 20


def write(folder: Path, patients: int, seed: int, errors: bool, meter: Meter | None) -> Path:
    """Write ``EchoNet-Dynamic/`` with its truth and planted errors beside it; returns the root."""
    root = folder / "EchoNet-Dynamic"
    (root / "Videos").mkdir(parents=True)
    place = Institution("echonet_dynamic", seed)
    files: list[dict[str, object]] = []
    tracings: list[dict[str, object]] = []
    for patient in range(patients):
        rng = place.rng(patient, "patient")
        name = f"0X{int(rng.integers(2**63)):016X}"
        heart = new_heart(rng, EF_MEAN, EF_SD)
        clip, pose = examine(heart, View.A4C, ECHONET, int(rng.integers(72, 110)), rng)
        write_avi(root / "Videos" / f"{name}.avi", clip.frames, ECHONET.fps)
        files.append(
            {
                "FileName": name,
                "EF": heart.ef,
                "ESV": heart.esv,
                "EDV": heart.edv,
                "FrameHeight": ECHONET.height,
                "FrameWidth": ECHONET.width,
                "FPS": int(ECHONET.fps),
                "NumberOfFrames": len(clip.frames),
                "Split": "TEST" if patient % 4 == 3 else ("VAL" if patient % 16 == 5 else "TRAIN"),
            }
        )
        filling = np.array([moment.filling for moment in clip.moments])
        for frame in (int(filling.argmax()), int(filling.argmin())):
            tracings += trace(f"{name}.avi", frame, clip.moments[frame], pose, ECHONET)
        place.truth.append(
            {"clip": name, "ef": heart.ef, "esv": heart.esv, "edv": heart.edv, "rate": heart.rate}
        )
        if meter:
            meter.advance()
    if errors:
        _plant(root, place, files, tracings)
    write_table(root / "FileList.csv", files)
    write_table(root / "VolumeTracings.csv", tracings)
    return place.close(root)


def write_avi(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    """Write grey frames (N, H, W) as MJPG AVI."""
    size = (frames.shape[2], frames.shape[1])
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    for frame in frames:
        video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    video.release()


def trace(
    name: str, frame: int, now: Moment, pose: Pose, scanner: Scanner
) -> list[dict[str, object]]:
    """An expert's tracing: the long axis, then discs across it from apex to base, in pixels."""
    depth = np.linspace(0, now.length, DISCS + 2, dtype=np.float32)[1:-1]
    half = cavity_outline(now, depth)
    u = np.concatenate([np.zeros(2), -half, half]).astype(np.float32)
    v = np.concatenate([np.array([0, now.length]), depth, depth]).astype(np.float32)
    x, z = pose.to_plane(u, v)
    columns = x * scanner.pixels_per_cm + scanner.apex[0]
    rows = z * scanner.pixels_per_cm + scanner.apex[1]
    pairs = [(0, 1), *((2 + disc, 2 + DISCS + disc) for disc in range(DISCS))]
    return [
        {
            "FileName": name,
            "X1": float(columns[a]),
            "Y1": float(rows[a]),
            "X2": float(columns[b]),
            "Y2": float(rows[b]),
            "Frame": frame,
        }
        for a, b in pairs
    ]


def _plant(
    root: Path,
    place: Institution,
    files: list[dict[str, object]],
    tracings: list[dict[str, object]],
) -> None:
    """A sample of the published set's known errors, and three kinds of damage."""
    names = [str(row["FileName"]) for row in files]
    first = str(tracings[0]["FileName"])
    tracings.append({**tracings[0], "FileName": "0X4F8859C8AB4DA9CB.avi"})
    place.plant("tracing_without_video", "0X4F8859C8AB4DA9CB.avi")
    tracings += [row for row in tracings if row["FileName"] == first]
    place.plant("odd_tracing_rows", first)
    tracings[50]["X1"] = -4.1
    place.plant("tracing_outside_frame", str(tracings[50]["FileName"]))
    template = dict(files[0])
    for kind, name in (
        ("missing_file", "0X000000000000000A"),
        ("empty_file", "0X000000000000000B"),
        ("undecodable", "0X000000000000000C"),
    ):
        files.append({**template, "FileName": name, "Split": "TRAIN"})
        place.plant(kind, f"Videos/{name}.avi")
    (root / "Videos/0X000000000000000B.avi").touch()
    (root / "Videos/0X000000000000000C.avi").write_bytes(b"RIFF....AVI not a video at all")
    if len(names) > 2:
        whole = (root / f"Videos/{names[2]}.avi").read_bytes()
        (root / f"Videos/{names[2]}.avi").write_bytes(whole[: len(whole) * 2 // 3])
        place.plant("truncated_clip", f"Videos/{names[2]}.avi")
    disc = np.zeros((768, 1024), np.uint8)
    noise = np.clip(place.rng(0, "big").normal(40, 20, (12, 768, 1024)), 0, 255).astype(np.uint8)
    cv2.circle(disc, (512, 384), 300, 1, -1)
    write_avi(root / "Videos/0X234005774F4CB5CD.avi", (noise * disc).astype(np.uint8), 30)
    size = {"FrameHeight": 768, "FrameWidth": 1024, "FPS": 30, "NumberOfFrames": 12}
    files.append({**template, **size, "FileName": "0X234005774F4CB5CD", "Split": "TRAIN"})
    place.plant("odd_size", "Videos/0X234005774F4CB5CD.avi")
