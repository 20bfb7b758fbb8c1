"""A look at a video by decord and by OpenCV: the same, and no decord where dying would matter."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.formats import video_probe
from echofm_core.data.formats.video import read_grey
from echofm_core.data.formats.video_probe import (
    Probe,
    by_decord,
    by_opencv,
    by_pictures,
    probe_video,
)
from echofm_core.data.parallel import parallel_map
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.runtime.pool_worker import will_be_retried
from tests.data.files import (
    speckle,
    wedge,
    with_jet,
    write_avi,
    write_coloured,
    write_uneven_mp4,
)

ENCODED = Path(__file__).parents[1] / "fuzz/seeds"


def look(file: Path) -> tuple[str, ...]:
    """What a process that may die sees, as text, were every file a large one."""
    video_probe.LARGE = 0
    try:
        return tuple(map(str, probe_video(file)))
    except UnreadableFileError as error:
        return error.kind, str(error)


def outlive(file: Path) -> str:
    """Stands for a file on which decord ends the process; named as decord would be."""
    if will_be_retried():
        os._exit(139)
    return probe_video(file).decoder


def without_decord(file: Path) -> Probe:
    try:
        return by_pictures(file)
    except ValueError:
        return by_opencv(file)


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    grey = speckle(30, 96, 128)
    colour = np.repeat(grey[..., None], 3, axis=-1)
    cut = write_avi(tmp_path / "cut.avi", grey)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    return [
        write_avi(tmp_path / "a.avi", grey),
        write_coloured(tmp_path / "b.mp4", colour, "mp4v"),
        write_coloured(tmp_path / "c.avi", colour, "XVID"),
        write_coloured(tmp_path / "d.avi", with_jet(grey), "MJPG"),
        write_coloured(tmp_path / "e.mp4", with_jet(grey), "mp4v"),
        write_uneven_mp4(tmp_path / "f.mp4", grey, [1 / 60, 1 / 20] * 15),
        cut,
        *sorted(ENCODED.glob("*.mp4")),
    ]


def test_decord_and_opencv_see_the_same(videos: list[Path]) -> None:
    """Frames, size and rate; that a jet is there in two of them."""
    for video in videos:
        ours, theirs = by_decord(video), without_decord(video)
        assert ours[1:4] == theirs[1:4], video.name
        assert ours.fps == pytest.approx(theirs.fps, rel=1e-4)
        assert ours.coloured == theirs.coloured == (video.stem in "de"), video.name


def test_where_dying_is_harmless_decord_looks(videos: list[Path]) -> None:
    assert probe_video(videos[0]).decoder == "libjpeg"
    assert probe_video(videos[1]).decoder == "OpenCV"
    with closing(parallel_map(look, videos, 1)) as results:
        seen = list(results)
    for video, one in zip(videos, seen, strict=True):
        assert one is not None
        decoder = "libjpeg" if video.stem in ("a", "d", "cut") else "decord"
        if video.stem in "de":
            reason = f"The cine shows colour flow over the grey image (decoder: {decoder})."
            assert one == ("colour_doppler", reason)
        else:
            assert one[0] == decoder


def test_a_file_that_ends_decord_s_process_is_looked_at_by_opencv(tmp_path: Path) -> None:
    colour = np.repeat(speckle(9)[..., None], 3, axis=-1)
    files = [write_coloured(tmp_path / f"{name}.mp4", colour, "mp4v") for name in "abc"]
    with closing(parallel_map(outlive, files, 2)) as results:
        assert list(results) == ["OpenCV"] * 3


def test_without_decord_opencv_looks(videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_probe, "will_be_retried", lambda: True)
    monkeypatch.setattr(video_probe, "LARGE", 0)
    assert probe_video(videos[1]).decoder == "decord"
    monkeypatch.setitem(sys.modules, "decord", None)
    assert probe_video(videos[1]).decoder == "OpenCV"


@pytest.mark.parametrize("died", [False, True])
def test_no_video_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], died: bool
) -> None:
    """And neither decoder prints the file's name."""
    monkeypatch.setattr(video_probe, "will_be_retried", lambda: not died)
    junk = tmp_path / "Phantomschild.avi"
    junk.write_bytes(b"junk" * 99)
    with pytest.raises(UnreadableFileError, match="neither AVI nor MP4"):
        probe_video(junk)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(UnreadableFileError, match="empty"):
        probe_video(tmp_path / "empty.mp4")
    assert "Phantomschild" not in "".join(capfd.readouterr())


def test_a_look_and_a_decoding_agree(videos: list[Path]) -> None:
    for video in videos:
        if video.stem in "de":
            with pytest.raises(UnreadableFileError) as caught:
                read_grey(video)
            assert caught.value.kind == "colour_doppler"
            continue
        sight, cine = without_decord(video), read_grey(video)
        assert len(cine.frames) in (sight.frames, sight.frames - (video.stem == "cut"))
        assert sight.fps == cine.fps
        assert cine.frames.shape[1:] == (sight.height, sight.width)


def test_times_of_an_uneven_video_are_those_that_were_written(tmp_path: Path) -> None:
    """One sixtieth and one twentieth of a second in turns: 30 a second on average, never so."""
    steps = [1 / 60, 1 / 20] * 15
    cine = read_grey(write_uneven_mp4(tmp_path / "a.mp4", speckle(30), steps))
    assert cine.times is not None
    np.testing.assert_allclose(cine.times, np.cumsum([0, *steps[:-1]]), atol=1e-3)
    assert cine.fps == pytest.approx(29 / sum(steps[:-1]), rel=1e-3)
    assert read_grey(write_avi(tmp_path / "b.avi", speckle(30))).times is None
    assert wedge(64, 64).any()
