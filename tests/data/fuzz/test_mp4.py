"""MP4 with H.264 and HEVC, as cameras and archives write it, MPEG-4 part 2 and Motion JPEG."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2

from echofm_core.data.readers.generic import read_loose
from tests.data.files import speckle
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import bits_behind, fields_of

BOXES = (
    "ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|vmhd|dinf|dref|stbl|stsd|avc1|avcC|hev1|"
    "hvcC|mp4v|esds|stts|stss|ctts|stsc|stsz|stco|udta|mdat|free"
)
#: Twelve frames of 64 x 48, a few kilobytes, written by x264 and x265.
ENCODED = Path(__file__).with_name("seeds")


def plant(folder: Path) -> list[Seed]:
    for file in sorted(ENCODED.glob("*.mp4")):
        shutil.copy(file, folder / f"doe_jane_{file.name}")
    for coding in ("mp4v", "MJPG"):
        path = folder / f"doe_jane_{coding}.mp4"
        four = cv2.VideoWriter.fourcc(*coding)
        video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, four, 30.0, (64, 48))
        for frame in speckle(6, 48, 64):
            video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        video.release()
    return [Seed(file=file, root=file, read=read_loose) for file in sorted(folder.iterdir())]


FORMAT = Format(
    name="mp4",
    plant=plant,
    own=0.7,
    mutators=(
        fields_of(BOXES, order=">", size_at=-4, longest=64),
        bits_behind("avcC|hvcC|esds", 64),
        bits_behind("mdat", 1500),
        bits_behind("mdat", 1500),
    ),
    secrets=("doe", "jane"),
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)
