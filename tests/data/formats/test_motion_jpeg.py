"""Motion JPEG against Pillow's decoder, and against what was drawn."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from echofm_core.data import limits
from echofm_core.data.decode import decode_clip
from echofm_core.data.formats.motion_jpeg import read_luminance
from echofm_core.data.formats.video import read_grey
from echofm_core.data.opening import silenced
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.files import speckle, write_avi


def _pictures(file: Path) -> list[bytes]:
    """The pictures of an AVI, by the file format: ``00dc``, length, bytes, padded to even."""
    data, pictures = file.read_bytes(), []
    place = data.index(b"movi") + 4
    while data[place : place + 4] == b"00dc":
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        pictures.append(data[place + 8 : place + 8 + length])
        place += 8 + length + length % 2
    return pictures


def _by_pillow(file: Path, *, half: bool = False) -> NDArray[np.uint8]:
    frames = []
    for data in _pictures(file):
        image = Image.open(BytesIO(data))
        width, height = image.size
        image.draft("L", (width // 2, height // 2) if half else (width, height))
        frames.append(np.asarray(image))
    return np.stack(frames)


@pytest.mark.parametrize(("height", "width"), [(112, 112), (120, 162)])
def test_frames_are_the_luminance_that_is_stored(tmp_path: Path, height: int, width: int) -> None:
    file = write_avi(tmp_path / "a.avi", speckle(12, height, width), 40)
    frames, fps = read_grey(file)[:2]
    np.testing.assert_array_equal(frames, _by_pillow(file))
    assert fps == pytest.approx(40)


def test_grey_is_not_darker_than_what_was_drawn(tmp_path: Path) -> None:
    """By way of decord's colours it would be, by half a level on average."""
    drawn = np.clip(speckle(12, 112, 112), 20, 220)
    frames, _ = read_grey(write_avi(tmp_path / "a.avi", drawn, 40))[:2]
    assert abs(float(np.mean(frames.astype(float) - drawn))) < 0.15


@pytest.mark.parametrize(("height", "width"), [(256, 320), (258, 322), (262, 334)])
def test_large_pictures_come_at_half_size(tmp_path: Path, height: int, width: int) -> None:
    """Against Pillow's own half size, and against block means, two by two, of the full one."""
    file = write_avi(tmp_path / "a.avi", speckle(6, height, width))
    frames, _ = read_grey(file, 64)[:2]
    np.testing.assert_array_equal(frames, _by_pillow(file, half=True))
    full = read_grey(file)[0].astype(float)
    means = full.reshape(6, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    assert np.abs(frames - means).mean() < 1.5
    assert read_grey(file, height // 4 + 1)[0].shape == (6, height, width)


def test_the_sector_is_the_same_at_half_size(tmp_path: Path) -> None:
    file = write_avi(tmp_path / "a.avi", speckle(12, 480, 640))
    half = decode_clip(str(file), "d", side=112).sector
    full = decode_clip(str(file), "d").sector[::2, ::2]
    assert half.shape == full.shape == (240, 320)
    assert (half & full).sum() > 0.98 * (half | full).sum()


def test_other_codings_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (64, 64))
    for frame in speckle(12):
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    assert read_luminance(path, None) is None
    assert read_grey(path)[0].shape == (12, 64, 64)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_clip_too_long_for_memory_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, coding = tmp_path / f"a{suffix}", {".avi": "MJPG", ".mp4": "mp4v"}[suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*coding), 30, (64, 64))
    for frame in speckle(20):
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    monkeypatch.setattr(limits, "LARGEST_CLIP", 20 * 64 * 64)
    assert len(read_grey(path)[0]) == 20
    monkeypatch.setattr(limits, "LARGEST_CLIP", 20 * 64 * 64 - 1)
    with pytest.raises(UnreadableFileError, match=r"64 x 64 pixels has 20 frames .* 19 can"):
        read_grey(path)


def test_damage_within_pictures_is_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every picture's scan is overwritten in part; libjpeg has much to say about that."""
    file = write_avi(tmp_path / "a.avi", speckle(12, 112, 112))
    data = bytearray(file.read_bytes())
    place = data.index(b"movi") + 4
    for picture in _pictures(file):
        data[place + 1000 : place + 1040] = bytes(range(40))
        place += 8 + len(picture) + len(picture) % 2
    file.write_bytes(data)
    loud = cv2.imdecode(np.frombuffer(_pictures(file)[0], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert loud is not None
    assert "Corrupt JPEG data" in capfd.readouterr().err
    assert len(read_grey(file)[0]) == 12
    assert capfd.readouterr() == ("", "")


def test_overlapping_hushes_give_the_terminal_back(capfd: pytest.CaptureFixture[str]) -> None:
    outer, inner = silenced(), silenced()
    outer.__enter__()
    inner.__enter__()
    os.write(2, b"unheard")
    outer.__exit__(None, None, None)
    os.write(2, b"unheard")
    inner.__exit__(None, None, None)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
