"""Mutated videos looked at by decord, in processes that may die: each is read or refused."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import pytest

from echofm_core.data.formats.video_probe import by_decord, probe_video
from echofm_core.data.parallel import parallel_map
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.runtime.pool_worker import will_be_retried
from tests.data.fuzz.harness import parts
from tests.data.fuzz.worker import build, load


def look(file: Path) -> str:
    """By decord first, whatever the coding and size, as long as dying is harmless."""
    if will_be_retried():
        with suppress(Exception):
            return by_decord(file).decoder
    try:
        return probe_video(file).decoder
    except UnreadableFileError as error:
        return f"refused: {error}"


@parts
@pytest.mark.parametrize("name", ["avi", "mp4"])
def test_no_file_ends_more_than_its_process(tmp_path: Path, name: str, numbers: range) -> None:
    """Where decord ends its process, OpenCV looks; nobody prints who was examined."""
    format_ = load(name)
    (tmp_path / "seeds").mkdir()
    seeds = list(format_.plant(tmp_path / "seeds"))
    sound = {seed.file: seed.file.read_bytes() for seed in seeds}
    files = []
    for number in numbers:
        case = build(format_, seeds, sound, 1, number)
        files.append(tmp_path / f"doe_jane_{number}{case.seed.file.suffix}")
        files[-1].write_bytes(case.data)
    with closing(parallel_map(look, files, 2)) as results:
        seen = list(results)
    assert None not in seen
    assert "decord" in seen
    refused = [one for one in seen if one is not None and one.startswith("refused")]
    assert not [one for one in refused if "doe" in one or not one.isprintable()]
