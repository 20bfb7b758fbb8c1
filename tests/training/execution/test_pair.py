"""Two real processes over gloo give what one gives: gradients, skips, metrics, weights.

24 clips in pre-training and the 20 with a label in fine-tuning; batches of five fall into two and
three, and the one of four into two and two. Clips with an EF and with a grade fall as they may.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echofm_core.contract import Phase, Weights
from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.weights import all_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.checksum import digest
from echofm_core.training.execution.job_folder import JobFolder, Terms
from echofm_core.training.execution.ranks import ALONE
from echofm_core.training.objectives.phases import Model, own_round
from tests.support.forks import MODULE, Forks
from tests.training.execution.pair import slopes
from tests.training.killed import OPTIONS
from tests.training.site import PLAN, context

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: All that a round carries. AdamW's steps are as long as they are in the demo; at 1e-3 rounding
#: alone, which it divides by itself, moves some weights of fine-tuning by more than 1e-5.
CHANGES = {**OPTIONS, "learning_rate": 3e-4}
PARAMETERS = pytest.mark.parametrize("phase", list(Phase))


def plan_of() -> Plan:
    pretrain = PLAN.pretrain.model_copy(update=CHANGES)
    finetune = PLAN.finetune.model_copy(update={**CHANGES, "drop_path": 0.3})
    return PLAN.model_copy(update={"pretrain": pretrain, "finetune": finetune})


def build(phase: Phase) -> Model:
    plan = plan_of()
    return build_autoencoder(plan) if phase is Phase.PRETRAIN else build_echo_model(plan)


@pytest.fixture(scope="module")
def pair(forks: Forks, clips: ClipWindows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which both processes have done their work."""
    path = tmp_path_factory.mktemp("pair")
    terms = Terms(world=2, device="cpu", threads=1, parent=os.getpid())
    for phase in Phase:
        (path / phase).mkdir()
        where = context(state=path / phase / "state", proximal_mu=0.1, save_every=2)
        JobFolder(path / phase).write_job(build(phase), clips, plan_of(), where, terms)
    both = []
    for rank in range(2):
        log = path / f"{rank}.log"
        log.touch()
        words = ("tests.training.execution.pair", path, rank)
        both.append(forks.start(MODULE, *words, cwd=Path(__file__).parents[3], out=log))
    codes = [process.wait(600) for process in both]
    assert codes == [0, 0], [log.read_text() for log in path.glob("*.log")]
    return path


@pytest.fixture(scope="module")
def found(pair: Path) -> list[dict[str, Any]]:
    return [json.loads((pair / f"found-{rank}.json").read_text()) for rank in range(2)]


def test_gradients_are_summed_as_reckoned_by_hand(found: list[dict[str, Any]]) -> None:
    """Mean of 1, 2 and 6 is 3, though the processes' means, 1.5 and 6, have a mean of 3.75.

    A weight that takes part in one process alone has its gradient, one that does in none has none.
    """
    assert [item["by hand"] for item in found] == [[3.0, 7.0, None]] * 2


def test_broken_batches_are_skipped_by_both(found: list[dict[str, Any]]) -> None:
    """Six clips, one of them NaN, twice, in batches of 1 (the second process has none), 2, 3, 6."""
    for item in found:
        for size, (weight, metrics) in zip((1, 2, 3, 6), item["slopes"], strict=True):
            torch.set_num_threads(1)
            alone, expected = slopes(ALONE, size)
            assert weight == pytest.approx(alone, rel=1e-6)
            assert metrics == pytest.approx(expected, rel=1e-6)
            assert metrics["skipped"] == 2


def test_both_give_up_in_the_same_step(found: list[dict[str, Any]]) -> None:
    assert all("1 steps had a non-finite loss" in item["gives up"] for item in found)


def test_both_end_with_the_same_bits(found: list[dict[str, Any]]) -> None:
    assert found[0]["digests"] == found[1]["digests"]


@PARAMETERS
def test_a_round_is_that_of_one_process(
    pair: Path, clips: ClipWindows, tmp_path: Path, phase: Phase
) -> None:
    """All weights that the model's output depends on to 1e-5, metrics to 1e-6."""
    start, model = build(phase), build(phase)
    where = context(state=tmp_path, proximal_mu=0.1, save_every=2)
    report = own_round(model, clips, plan_of(), where)
    theirs = build(phase)
    shared = JobFolder(pair / phase).read_result(theirs)
    assert shared.counts == report.counts
    assert shared.metrics == pytest.approx(report.metrics, rel=1e-6)
    ours, others = effective(all_arrays(model)), effective(all_arrays(theirs))
    moved = [np.abs(ours[name] - array).max() for name, array in all_arrays(start).items()]
    assert np.median(moved) > 2e-4  # twenty times of what is allowed
    for name, array in ours.items():
        np.testing.assert_allclose(others[name], array, rtol=0, atol=1e-5, err_msg=name)


@PARAMETERS
def test_a_round_is_to_the_bit_that_of_one_process_in_two_parts(
    pair: Path, clips: ClipWindows, tmp_path: Path, phase: Phase
) -> None:
    """Every weight: the same two sums are added, and a sum of two has no order."""
    model, theirs = build(phase), build(phase)
    where = context(state=tmp_path, proximal_mu=0.1, accumulate=2, save_every=2)
    own_round(model, clips, plan_of(), where)
    JobFolder(pair / phase).read_result(theirs)
    assert digest(all_arrays(model)) == digest(all_arrays(theirs))


def effective(arrays: Weights) -> dict[str, np.ndarray]:
    """Zeros for what is added to all scores before a softmax, which changes nothing.

    Its gradient is zero but for rounding, and AdamW divides rounding by rounding: it drifts
    differently with every other order of sums. These are keys' biases, and the biases of scores
    in attention pools.
    """
    found = {name: np.array(array) for name, array in arrays.items()}
    for name, array in found.items():
        if name.endswith("attn.qkv.bias"):
            array.reshape(3, -1)[1] = 0
        if name.endswith("pool.score.bias"):
            array[:] = 0
    return found
