"""The data path against its peers: windows, building a store, DICOM ingest, a large manifest.

``python -m benchmarks.data [--quick] [--json FILE]``: phantoms are written to a temporary folder
and read by both sides from there, page cache warm, one thread each, in turns; a figure is the
median of the turns. Rates are per CPU second of all threads of the process unless a row says wall.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks._rows import Bar, Row, finish, parser
from benchmarks._timing import machine, one_thread, side_by_side
from benchmarks.data_files import CINE, CLIPS, write_cine, write_manifest, write_videos
from benchmarks.peers import decord_recipe, pydicom_grey
from echofm_core.data.config import DataConfig
from echofm_core.data.dicom.frames import read_cine
from echofm_core.data.formats.video_probe import by_decord, by_opencv, by_pictures
from echofm_core.data.store.build import build_store
from echofm_core.runtime.randomness import stream

Frames = NDArray[np.uint8]

PACKAGES = (
    "numpy", "opencv-python-headless", "decord", "decord2", "torch", "torchvision", "pydicom",
    "pillow", "pandas",
)  # fmt: skip
CONFIG = DataConfig(size=112)
#: Frames and stride of a window.
WINDOW, STRIDE = 16, 4
#: Frames of a video, EchoNet-Dynamic's median.
LENGTH = 176


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """How much is measured.

    Attributes:
        repetitions: Turns of each contestant.
        windows: Windows a turn.
        videos: (height, width, clips a turn) of the videos that a store is built from.
        cine_frames: Frames of the DICOM cine.
        rows: Rows of the manifest.
    """

    repetitions: int
    windows: int
    videos: tuple[tuple[int, int, int], ...]
    cine_frames: int
    rows: int


FULL = Amount(
    repetitions=5,
    windows=60,
    videos=((112, 112, 24), (480, 640, 8), (768, 1024, 4)),
    cine_frames=60,
    rows=CLIPS,
)
QUICK = Amount(
    repetitions=1,
    windows=6,
    videos=((112, 112, 2), (480, 640, 1)),
    cine_frames=12,
    rows=20_000,
)


def windows(folder: Path, amount: Amount) -> list[Row]:
    """Random windows of videos of EchoNet-Dynamic's size: copied out of the store, or by decord."""
    manifest = write_videos(folder, 112, 112, LENGTH, 6)
    store, _ = build_store(manifest, folder / "store", CONFIG)
    rng, span = stream(0, "", 0, "benchmark.windows"), STRIDE * (WINDOW - 1) + 1
    chosen = rng.integers(0, len(manifest), amount.windows)
    starts = rng.integers(0, LENGTH - span + 1, amount.windows).tolist()
    paths = [Path(path) for path in manifest["path"].iloc[chosen]]
    wanted = [range(start, start + span, STRIDE) for start in starts]
    drawn = list(zip(manifest["clip_id"].iloc[chosen].tolist(), starts, strict=True))

    def ours() -> list[Frames]:
        return [store.frames(clip, start, start + span)[::STRIDE].copy() for clip, start in drawn]

    def strided() -> list[Frames]:
        return list(map(decord_recipe.strided_window, paths, wanted))

    def contiguous() -> list[Frames]:
        return list(map(decord_recipe.contiguous_window, paths, wanted))

    sectors = [store.sector(clip) for clip, _ in drawn]
    theirs = [
        np.where(sector, one[..., 1], 0) for sector, one in zip(sectors, strided(), strict=True)
    ]
    _same(np.stack(ours()), np.stack(theirs), "windows")
    spent = side_by_side((ours, strided, contiguous), amount.repetitions)
    rates = [amount.windows / one.cpu for one in spent]
    what = f"windows of {WINDOW} frames, stride {STRIDE}, from 112 x 112 MJPG, a CPU s"
    return [
        Row(f"{what}: store, decord strided", rates[0], rates[1], Bar("at least", 50)),
        Row(f"{what}: store, decord one span", rates[0], rates[2]),
    ]


def store_building(folder: Path, amount: Amount) -> list[Row]:
    """Whole clips to 112 x 112: ours masked to the sector, hashed and written to disk as well."""
    rows = []
    for height, width, clips in amount.videos:
        place = folder / f"{height}"
        manifest = write_videos(place, height, width, LENGTH, clips)
        paths = [Path(path) for path in manifest["path"]]

        def ours(place: Path = place, manifest: pd.DataFrame = manifest) -> None:
            shutil.rmtree(place / "store", ignore_errors=True)
            build_store(manifest, place / "store", CONFIG)

        def peer(paths: list[Path] = paths) -> None:
            for path in paths:
                decord_recipe.whole_clip(path, CONFIG.size)

        one, other = side_by_side((ours, peer), amount.repetitions)
        # Nothing is resized at 112: what is left is decoding against decoding, hashing and writing.
        bar = Bar("at least", 3) if min(height, width) > CONFIG.size else None
        what = f"store building, clips of {LENGTH} x {height} x {width} MJPG"
        rows += [
            Row(
                f"{what}, a CPU s: ours, decord + torchvision",
                clips / one.cpu,
                clips / other.cpu,
                bar,
            ),
            Row(
                f"{what}, a wall s: ours, decord + torchvision",
                clips / one.wall,
                clips / other.wall,
            ),
        ]
    return rows


def video_looks(folder: Path, amount: Amount) -> list[Row]:
    """Frames, times and colour of a video by a few frames all over it: decord against OpenCV.

    Product code uses decord for the first coding alone, for the figures say so.
    """
    folder.mkdir()
    height, width = 480, 640
    grey = stream(0, "", 0, "benchmark.looks").integers(0, 256, (height, width), np.uint8)
    rows = []
    for name, coding, other_look in (
        ("a.mp4", "mp4v", by_opencv),
        ("a.avi", "MJPG", by_pictures),
    ):
        file = folder / name
        four = cv2.VideoWriter.fourcc(*coding)
        video = cv2.VideoWriter(str(file), cv2.CAP_FFMPEG, four, 30.0, (width, height))
        for number in range(LENGTH):
            shown = cv2.GaussianBlur(np.roll(grey, 3 * number, axis=1), (0, 0), 2)
            video.write(cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR))
        video.release()
        ours, theirs = by_decord(file), other_look(file)
        if ours[1:4] != theirs[1:4] or ours.coloured != theirs.coloured:
            raise RuntimeError(f"the contestants saw different videos: {ours}, {theirs}")
        looks = (partial(by_decord, file), partial(other_look, file))
        one, other = side_by_side(looks, amount.repetitions)
        what = f"looks at {LENGTH} x {height} x {width} {coding}, a CPU s: by decord, by OpenCV"
        rows.append(Row(what, 1 / one.cpu, 1 / other.cpu))
    return rows


def dicom_ingest(folder: Path, amount: Amount) -> list[Row]:
    """A cine in JPEG baseline, YBR_FULL_422, read and decoded to grey."""
    folder.mkdir()
    file = folder / "cine.dcm"
    write_cine(file, amount.cine_frames)
    _same(read_cine(file)[0], pydicom_grey.read_cine(file), "cines")
    one, other = side_by_side(
        (lambda: read_cine(file), lambda: pydicom_grey.read_cine(file)), amount.repetitions
    )
    kilobytes = file.stat().st_size / amount.cine_frames / 1000
    what = (
        f"DICOM ingest, frames of {amount.cine_frames} x {CINE[0]} x {CINE[1]} JPEG "
        f"({kilobytes:.0f} kB each), a CPU s: ours, pydicom RGB ({pydicom_grey.PLUGIN}) to grey"
    )
    rates = (amount.cine_frames / one.cpu, amount.cine_frames / other.cpu)
    return [Row(what, *rates, Bar("at least", 8))]


def large_manifest(folder: Path, amount: Amount) -> list[Row]:
    """Loaded, validated, and split by two protocols, in a process of its own."""
    folder.mkdir()
    file = folder / "manifest.parquet"
    write_manifest(file, amount.rows)
    command = [sys.executable, "-m", "benchmarks.manifest_load", str(file)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    what = f"manifest of {amount.rows:,} rows, load + validate + split twice"
    return [
        Row(f"{what}: wall s", found["seconds"], bar=Bar("at most", 10)),
        Row(f"{what}: peak MB", found["peak"], bar=Bar("at most", 1000)),
    ]


def _same(ours: Frames, theirs: Frames, what: str) -> None:
    """Refuse to compare the speed of two things that are not the same.

    Raises:
        RuntimeError: Shapes differ, or grey levels by more than 1.5 on average.
    """
    if ours.shape != theirs.shape or np.abs(ours.astype(np.int16) - theirs).mean() > 1.5:
        raise RuntimeError(f"the contestants read different {what}: {ours.shape}, {theirs.shape}")


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="less of everything; seconds")
    options = arguments.parse_args()
    amount = QUICK if options.quick else FULL
    one_thread()
    print(machine(PACKAGES))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for part in (windows, store_building, video_looks, dicom_ingest, large_manifest):
            rows += part(Path(scratch) / part.__name__, amount)
    finish(rows, options.json)


if __name__ == "__main__":
    main()
