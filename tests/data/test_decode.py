from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.data.config import Square
from echofm_core.data.decode import decode_clip, sources
from echofm_core.data.formats.nifti import (
    in_order,
    parse_settings,
    read_header,
    read_sequence,
    systole_first,
)
from echofm_core.data.formats.video import read_grey
from echofm_core.data.resize import in_square, letterbox
from echofm_core.runtime.errors import UnreadableFileError
from tests.data.files import (
    damage,
    speckle,
    wedge,
    write_avi,
    write_jpeg_cine,
    write_nifti,
    write_png,
)


def test_video_gives_every_frame_and_the_rate(tmp_path: Path) -> None:
    frames = speckle(70, 112, 112)  # more than one chunk
    decoded, fps = read_grey(write_avi(tmp_path / "a.avi", frames, 40.0))[:2]
    assert decoded.shape == (70, 112, 112)
    assert fps == pytest.approx(40.0)
    inside = wedge(112, 112)
    assert np.abs(decoded.astype(float) - frames)[:, inside].mean() < 4  # JPEG loss only


def test_truncated_video_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    good = write_avi(tmp_path / "a.avi", speckle(40))
    cut = damage(good, tmp_path)["cut"]
    assert 10 <= len(read_grey(cut)[0]) <= 25


@pytest.mark.parametrize("share", [0.3, 0.5, 0.63, 0.77, 0.9])
def test_video_cut_within_a_frame(tmp_path: Path, share: float) -> None:
    """Whatever byte the cut falls on, the frames before it come, equal to the whole file's."""
    good = write_avi(tmp_path / "a.avi", speckle(60, 112, 112))
    whole = read_grey(good)[0]
    cut = tmp_path / "cut.avi"
    cut.write_bytes(good.read_bytes()[: int(good.stat().st_size * share)])
    frames = read_grey(cut)[0]
    assert len(frames) == pytest.approx(60 * share, abs=3)
    np.testing.assert_array_equal(frames[:-1], whole[: len(frames) - 1])
    for _ in range(4):  # not a matter of timing between decoder threads
        np.testing.assert_array_equal(read_grey(cut)[0], frames)


@pytest.mark.parametrize("suffix", [".avi", ".dcm", ".nii.gz", ".png"])
@pytest.mark.parametrize("how", ["cut", "stub", "empty", "junk", "missing"])
def test_damage_is_one_error_never_a_crash(tmp_path: Path, suffix: str, how: str) -> None:
    good = tmp_path / f"a{suffix}"
    if suffix == ".png":
        write_png(good, speckle(1)[0])
    else:
        writers = {".avi": write_avi, ".dcm": write_jpeg_cine, ".nii.gz": write_nifti}
        writers[suffix](good, speckle(20))
    assert len(decode_clip(str(good), "d").frames) in (1, 20)
    bad = damage(good, tmp_path).get(how, tmp_path / f"missing{suffix}")
    if (suffix, how) in ((".avi", "cut"), (".dcm", "cut"), (".png", "cut")):
        _whole_or_refused(bad, good)
        return
    with pytest.raises(UnreadableFileError) as caught:
        decode_clip(str(bad), "d")
    assert str(tmp_path) not in str(caught.value)


def _whole_or_refused(bad: Path, good: Path) -> None:
    """A stream cut in the middle may still hold whole frames: those, and no more, may come."""
    try:
        frames = decode_clip(str(bad), "d").frames
    except UnreadableFileError:
        return
    assert 1 <= len(frames) < max(2, len(decode_clip(str(good), "d").frames))


def test_unknown_suffix_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"\.wmv"):
        decode_clip(str(tmp_path / "a.wmv"), "d")


@pytest.mark.parametrize("singleton", [False, True])
def test_nifti_axes_are_turned(tmp_path: Path, singleton: bool) -> None:
    frames = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    file = write_nifti(tmp_path / "a.nii.gz", frames, singleton)
    np.testing.assert_array_equal(read_sequence(file), frames)
    assert read_header(file).shape == (2, 3, 4)


@pytest.mark.parametrize(("ed", "es", "turned"), [(1, 5, False), (5, 1, True)])
def test_camus_frames_come_from_diastole_to_systole(
    tmp_path: Path, ed: int, es: int, turned: bool
) -> None:
    frames = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    file = write_nifti(tmp_path / "patient0001_4CH_half_sequence.nii.gz", frames)
    settings = tmp_path / "Info_4CH.cfg"
    settings.write_text(f"ED: {ed}\nES: {es}\n")
    ordered = in_order(read_sequence(file), file)
    np.testing.assert_array_equal(ordered, frames[::-1] if turned else frames)
    assert sources(str(file)) == [file, settings]


@given(st.text(max_size=300))
def test_settings_parser_takes_any_text(text: str) -> None:
    parsed = parse_settings(text)
    assert all(key == key.strip() and ":" not in key for key in parsed)
    assert systole_first(parsed) in (True, False)


def test_settings_as_published() -> None:
    parsed = parse_settings("ED: 1\nES: 18\nImageQuality: Good\nnoise\nTime: 1:2\n")
    assert parsed == {"ED": "1", "ES": "18", "ImageQuality": "Good", "Time": "1:2"}
    assert not systole_first(parsed)


def test_stills_are_stacked_in_order(tmp_path: Path) -> None:
    images = speckle(3)
    files = [write_png(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    decoded = decode_clip(os.pathsep.join(map(str, files)), "tmed2")
    assert decoded.fps is None
    np.testing.assert_array_equal(decoded.frames, images)


def test_letterbox_keeps_the_aspect_and_centres() -> None:
    """By hand: 40 x 80 into 20 x 20 is scaled by 1/4 to 10 x 20, five black rows on each side."""
    frames, whole = np.full((2, 40, 80), 200, np.uint8), np.ones((40, 80), bool)
    square, mask = in_square(frames, whole, None, Square(20, 0))
    assert square.shape == (2, 20, 20)
    assert (square[:, 5:15] == 200).all()
    assert (square[:, :5] == 0).all()
    assert (square[:, 15:] == 0).all()
    assert mask[5:15].all()
    assert mask.sum() == 200


def test_letterbox_averages_areas() -> None:
    """By hand: each 2 x 2 block of 0, 100, 100, 200 averages to 100."""
    block = np.tile(np.array([[0, 100], [100, 200]], np.uint8), (4, 4))
    assert (letterbox(block[None], 4) == 100).all()
