"""A killed round goes on where it was saved, and ends with the bits of one that was not killed.

24 clips (pre-training) and the 20 with a label (fine-tuning), twice in batches of at most 5: ten
steps of 4 or 5 windows, and eight of 5.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echofm_core.contract import Phase
from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder
from echofm_core.runtime.errors import TrainingError
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.objectives.pretrain import pretrain_round
from echofm_core.training.steps.job import Indices, RoundReport
from echofm_core.training.steps.loop import train
from tests.support.forks import MODULE, Forks
from tests.training.killed import PRETRAIN, MortalWindows, run
from tests.training.site import PLAN, context, make_site
from tests.training.steps.test_loop import PLAIN, Slope, job

ROOT = Path(__file__).parents[3]
Whole = dict[Phase, tuple[str, RoundReport]]


class KilledError(Exception):
    """Stands for the end of a process."""


def die() -> None:
    raise KilledError


@pytest.fixture(scope="module")
def whole(clips: ClipWindows, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Both rounds without interruption and without saving."""
    torch.set_num_threads(1)
    return {phase: run(phase, clips, tmp_path_factory.mktemp(phase), 0) for phase in Phase}


def killed(phase: Phase, clips: ClipWindows, state: Path, every: int, after: int) -> None:
    with pytest.raises(KilledError):
        run(phase, MortalWindows(clips, after, die), state, every)


def left(state: Path, phase: Phase) -> Path:
    return state / "progress" / f"{phase}.safetensors"


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize(
    ("every", "after", "windows"),
    [
        (1, 3, None),  # within the first step: nothing is saved yet
        (1, 17, 15),  # within the fourth of fine-tuning: three are done
        (3, 24, 15),  # within the fifth: after three it was saved
        (2, 39, 30),  # in the second pass, within the eighth: six are done
    ],
)
def test_killed_anywhere_it_ends_with_the_same_bits(
    clips: ClipWindows,
    whole: Whole,
    tmp_path: Path,
    phase: Phase,
    every: int,
    after: int,
    windows: int | None,
) -> None:
    killed(phase, clips, tmp_path, every, after)
    assert left(tmp_path, phase).exists() is (windows is not None)
    rest = MortalWindows(clips, -1, die)
    assert run(phase, rest, tmp_path, every) == whole[phase]
    total = {Phase.PRETRAIN: 48, Phase.FINETUNE: 40}[phase]
    if phase is Phase.FINETUNE:
        assert rest.served == total - (windows or 0)
    else:
        assert (rest.served < total) is (windows is not None)
    assert not left(tmp_path, phase).exists()


def test_a_round_of_steps_goes_on_within_a_pass(clips: ClipWindows, tmp_path: Path) -> None:
    """20 labelled clips in batches of 5 are four steps a pass, and a round has seven: the second
    begins before the last step of a pass. Killed in its fifth step, four are saved: 15 windows are
    left.
    """

    def second(windows: ClipWindows, state: Path, every: int) -> tuple[str, RoundReport]:
        return run(Phase.FINETUNE, windows, state, every, round_=2, local_steps=7)

    straight = second(clips, tmp_path / "straight", 0)
    assert straight[1].metrics["steps"] == 7
    with pytest.raises(KilledError):
        second(MortalWindows(clips, 23, die), tmp_path / "killed", 2)
    rest = MortalWindows(clips, -1, die)
    assert second(rest, tmp_path / "killed", 2) == straight
    assert rest.served == 15


def test_killed_again_and_again(clips: ClipWindows, whole: Whole, tmp_path: Path) -> None:
    """Seven windows a life are one step, which is saved: it still comes to the end."""
    lives = 0
    while True:
        lives += 1
        try:
            found = run(Phase.FINETUNE, MortalWindows(clips, 7, die), tmp_path, 1)
        except KilledError:
            continue
        break
    assert found == whole[Phase.FINETUNE]
    assert lives == 8


def test_moments_are_those_of_an_uninterrupted_round(clips: ClipWindows, tmp_path: Path) -> None:
    """The next round, which starts from them, is the same too."""
    follow = []
    for name, interrupted in {"straight": False, "killed": True}.items():
        state = tmp_path / name
        if interrupted:
            killed(Phase.PRETRAIN, clips, state, 2, 30)
        run(Phase.PRETRAIN, clips, state, 2)
        follow.append(run(Phase.PRETRAIN, clips, state, 2, round_=2))
    assert follow[0] == follow[1]


def test_other_weights_or_another_round_start_from_the_beginning(
    clips: ClipWindows, tmp_path: Path
) -> None:
    def nudged(state: Path, **where: object) -> tuple[torch.Tensor, int]:
        model = build_autoencoder(PLAN)
        with torch.no_grad():
            model.encoder.norm.bias.add_(0.0 if where else 1e-3)
        counting = MortalWindows(clips, -1, die)
        here = context(state=state, proximal_mu=0.1, accumulate=2, save_every=1, **where)
        pretrain_round(model, counting, PRETRAIN, here)
        return model.encoder.norm.weight.detach(), counting.served

    for where in ({}, {"round": 2}, {"seed": 4}):
        killed(Phase.PRETRAIN, clips, tmp_path / "killed", 1, 30)
        fresh, _ = nudged(tmp_path / f"fresh{where}", **where)
        found, served = nudged(tmp_path / "killed", **where)
        assert served == 48
        assert torch.equal(found, fresh)
        for kept in (tmp_path / "killed" / "optimizer").iterdir():
            kept.unlink()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_file_costs_time_and_changes_no_bit(
    clips: ClipWindows, whole: Whole, tmp_path: Path, damage: str
) -> None:
    killed(Phase.FINETUNE, clips, tmp_path, 1, 30)
    path = left(tmp_path, Phase.FINETUNE)
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    broken = {"cut": data[:-5000], "flip": data, "empty": b"", "text": b"not a file of ours"}
    path.write_bytes(broken[damage])
    counting = MortalWindows(clips, -1, die)
    assert run(Phase.FINETUNE, counting, tmp_path, 1) == whole[Phase.FINETUNE]
    assert counting.served == 40


def test_skipped_steps_and_losses_are_counted_over_both_lives(tmp_path: Path) -> None:
    """Of six clips one is broken; the round dies before its last step."""
    factors = [1.0, 2.0, float("nan"), 3.0, 4.0, 5.0]
    where = context(state=tmp_path, save_every=1)

    straight, first = job(factors, PLAIN), job(factors, PLAIN, where)
    objective, begun = Slope(first.model, factors), []

    def mortal(rows: Indices, rng: np.random.Generator, parts: int = 1) -> Iterator[Losses]:
        begun.append(rows)
        if len(begun) == 6:
            raise KilledError
        return objective(rows, rng, parts)

    with pytest.raises(KilledError):
        train(replace(first, objective=mortal))
    second = job(factors, PLAIN, where)
    assert train(second) == train(straight)
    assert torch.equal(second.model.weight, straight.model.weight)


def test_saving_needs_a_folder() -> None:
    with pytest.raises(TrainingError, match=r"save_every.*no state folder"):
        train(job([1.0], PLAIN, context(save_every=1)))


@pytest.mark.slow
def test_a_process_that_is_killed_outright(forks: Forks, whole: Whole, tmp_path: Path) -> None:
    """SIGKILL in the middle of a step; another process ends the round."""
    folder = tmp_path / "site"
    folder.mkdir()
    make_site(folder)

    def start(windows: int) -> tuple[int, str]:
        log = tmp_path / f"{windows}.log"
        log.touch()
        words = (folder, tmp_path / "state", Phase.FINETUNE.value, windows)
        process = forks.start(MODULE, "tests.training.killed", *words, cwd=ROOT, out=log)
        return process.wait(), log.read_text()

    code, said = start(23)
    assert code == -signal.SIGKILL, said
    assert left(tmp_path / "state", Phase.FINETUNE).exists()
    code, said = start(0)
    assert code == 0, said
    assert said.strip() == whole[Phase.FINETUNE][0]
