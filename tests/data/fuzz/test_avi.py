"""AVI, as EchoNet has it (Motion JPEG) and in the codings that other tools write."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from echofm_core.data.decode import decode_clip
from echofm_core.data.readers.generic import read_loose
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.files import speckle, write_avi
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import boundary, fields_of, pick, poke

CHUNKS = "RIFF|LIST|avih|strh|strf|idx1|indx|JUNK|hdrl|strl|movi|vids|00d[cb]|01wb"
#: Start of frame, of tables, of a scan, restart interval.
JPEG = r"\xff[\xc0\xc2\xc4\xdb\xda\xdd]"


def plant(folder: Path) -> list[Seed]:
    frames = speckle(10, 48, 64)
    names = {"doe_jane.avi": "MJPG", "doe_jane_2.avi": "XVID", "doe_jane_3.avi": "png "}
    for name, coding in names.items():
        if coding == "MJPG":
            write_avi(folder / name, frames)
            continue
        size, four = (64, 48), cv2.VideoWriter.fourcc(*coding)
        video = cv2.VideoWriter(str(folder / name), cv2.CAP_FFMPEG, four, 30.0, size)
        for frame in frames:
            video.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        video.release()
    first = Seed(file=folder / "doe_jane.avi", root=folder / "doe_jane.avi", read=read_loose)
    others = [Seed(file=folder / name, root=folder / name, read=read_loose) for name in names]
    return [first, first, *others]


def picture_size(data: bytes, rng: np.random.Generator) -> bytes:
    """Another height or width in the header of a JPEG frame."""
    at = data.find(b"\xff\xc0", int(rng.integers(len(data) + 1)))
    return poke(data, at + pick((5, 7), rng), boundary(data, 2, rng, ">")) if at >= 0 else data


FORMAT = Format(
    name="avi",
    plant=plant,
    mutators=(
        fields_of(CHUNKS, order="<", size_at=4, longest=64),
        fields_of(CHUNKS, order="<", size_at=4, longest=64),
        fields_of(JPEG, order=">", size_at=0, longest=24),
        picture_size,
    ),
    secrets=("doe", "jane"),
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile {other}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, text: str, suffix: str) -> None:
    """FFmpeg would open the other file, here or out of the data root."""
    other = write_avi(tmp_path / "other.avi", speckle(10))
    (tmp_path / f"list{suffix}").write_text(text.format(other=other.name))
    assert len(decode_clip(str(other), "d").frames) == 10
    with pytest.raises(UnreadableFileError):
        decode_clip(str(tmp_path / f"list{suffix}"), "d")
