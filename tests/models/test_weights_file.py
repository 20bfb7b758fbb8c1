"""Where the weights of a model are found, and what is said where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.models.weights_file import WEIGHTS, find_weights
from echofm_core.runtime.errors import CheckpointError


def test_they_are_found_by_file_folder_and_run(tmp_path: Path) -> None:
    file = tmp_path / "run" / "model" / WEIGHTS
    file.parent.mkdir(parents=True)
    file.touch()
    for path in (file, file.parent, file.parent.parent):
        assert find_weights(path) == file


def test_a_folder_without_any_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"no weights at {tmp_path}; give a model.safet"):
        find_weights(tmp_path)


@pytest.mark.parametrize("place", ["study", "study/seed-1", "study/iid"])
def test_of_a_study_the_folder_of_a_training_is_named(place: str, tmp_path: Path) -> None:
    """A study, one seed of it, and one protocol: none has a model of its own."""
    protocol = "iid/" if place.endswith("iid") else ""
    arms = tmp_path / f"study/{protocol}seed-1/arms"
    for arm, there in (("fedavg-1", True), ("fedadam-2", False)):
        (arms / arm / "model").mkdir(parents=True)
        if there:
            (arms / arm / "model" / WEIGHTS).touch()
    with pytest.raises(CheckpointError, match=f"is of a study.* such as {arms}/fedavg-1.$"):
        find_weights(tmp_path / place)
