"""Event files, read back by TensorBoard's own reader. Its scalars are float32."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from echofm_core.tracking.listener import Tracking
from echofm_core.tracking.tensorboard import TensorBoard
from tests.tracking.made import finetune, plan, pretrain
from tests.tracking.read import tensorboard_curves


def of32(value: float) -> float:
    return float(np.float32(value))


def test_phases_are_apart_and_each_counts_from_one(run: Path) -> None:
    board = TensorBoard(run)
    for number in (1, 2):
        board.add(pretrain(number, loss=1 / number, seconds=3.0))
    board.add(finetune(1, loss=0.7))
    board.close(finished=True)
    assert tensorboard_curves(run) == {
        "pretrain/loss": [(1, 1.0), (2, 0.5)],
        "pretrain/seconds": [(1, 3.0), (2, 3.0)],
        "finetune/loss": [(1, of32(0.7))],
    }


def test_only_finite_numbers_with_plain_names_go_in(run: Path) -> None:
    TensorBoard(run).add(
        finetune(1, **{"loss/ef": 1.0, "Doe^John": 2.0, "a b": 3.0, "../x": 4.0, "nan": np.nan})
    )
    assert tensorboard_curves(run) == {"finetune/loss/ef": [(1, 1.0)]}


def test_gone_on_with_no_round_is_there_twice(run: Path) -> None:
    """Rounds come again, as they do on resuming; one has a number more than when it was kept."""
    first = TensorBoard(run)
    first.add(finetune(1, loss=1.0))
    first.add(finetune(1, loss=9.0))
    first.close(finished=False)
    second = TensorBoard(run)
    for number, loss in ((1, 8.0), (2, 2.0)):
        second.add(finetune(number, loss=loss, validation=loss))
    assert len(list((run / "tensorboard").iterdir())) == 2
    assert tensorboard_curves(run) == {
        "finetune/loss": [(1, 1.0), (2, 2.0)],
        "finetune/validation": [(1, 8.0), (2, 2.0)],
    }


def test_nothing_new_makes_no_file(run: Path) -> None:
    TensorBoard(run).add(finetune(1, loss=1.0))
    TensorBoard(run).add(finetune(1, loss=1.0))
    assert len(list((run / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize("lost", [1, 20])
def test_what_a_kill_cut_short_is_written_again(run: Path, lost: int) -> None:
    board = TensorBoard(run)
    for number in (1, 2):
        board.add(finetune(number, loss=float(number)))
    (file,) = (run / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-lost])
    again = TensorBoard(run)
    for number in (1, 2, 3):
        again.add(finetune(number, loss=float(number)))
    assert tensorboard_curves(run) == {"finetune/loss": [(1, 1.0), (2, 2.0), (3, 3.0)]}


def test_a_full_disk_is_one_sentence_and_no_more(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's own limit of a file's size stands for the disk: the write fails the same way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Tracking(plan("tensorboard"), run, arm="alone") as tracking:
        tracking.add(finetune(1, loss=1.0))
        (file,) = (run / "tensorboard").iterdir()
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, before[1]))
        try:
            tracking.add(finetune(2, loss=2.0))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        tracking.add(finetune(3, loss=3.0))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("echofm: tensorboard does not take this run's rounds (OSError: ")
    assert "the run goes on without it" in said
    with Tracking(plan("tensorboard"), run, arm="alone") as tracking:
        for number in (1, 2, 3):
            tracking.add(finetune(number, loss=float(number)))
    assert tensorboard_curves(run) == {"finetune/loss": [(1, 1.0), (2, 2.0), (3, 3.0)]}
