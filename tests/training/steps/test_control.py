from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.contract import Phase
from echofm_core.runtime import array_files
from echofm_core.runtime.errors import FederationError, TrainingError
from echofm_core.training.steps.control import ControlFiles, ControlVariate
from echofm_core.training.steps.loop import train
from tests.training.site import context
from tests.training.steps.test_loop import PLAIN, job

SHARED = {"encoder.w": np.zeros(2, np.float32), "heads.ef.w": np.zeros(1, np.float32)}


def files(folder: Path, round_: int = 1, base: int = 0) -> ControlFiles:
    return ControlFiles(folder, Phase.FINETUNE, round_, base)


def given(folder: Path, server: dict[str, list[float]], base: int = 0) -> ControlFiles:
    made = files(folder, base=base)
    made.begin({n: np.array(v, np.float32) for n, v in server.items()}, SHARED)
    return made


def test_gradients_are_corrected_and_their_mean_is_of_what_they_were(tmp_path: Path) -> None:
    """c = (1, -1), c_i = 0. Gradients (4, 2) and (6, 0) become (5, 1) and (7, -1); mean (5, 1)."""
    made = given(tmp_path, {"encoder.w": [1, -1]})
    weight = nn.Parameter(torch.zeros(2))
    control = ControlVariate({"encoder.w": weight}, made)
    corrected = []
    for gradient in ([4.0, 2.0], [6.0, 0.0]):
        weight.grad = torch.tensor(gradient)
        control.add()
        corrected.append(weight.grad.tolist())
    assert corrected == [[5, 1], [7, -1]]
    control.finish()
    change = made.end(SHARED)
    np.testing.assert_array_equal(change["encoder.w"], [5, 1])
    np.testing.assert_array_equal(change["heads.ef.w"], [0])


def test_what_is_sent_is_the_change_from_the_round_that_the_server_counts(tmp_path: Path) -> None:
    """Round 1: c_i = 3. Round 2 ends at 7, and is refused. Round 3 starts from 3, not from 7, and
    ends at 4: a change of 1. Its correction was c - 3 = 10 - 3 = 7.
    """
    for number, base, mean, expected in ((1, 0, 3.0, 3.0), (2, 1, 7.0, 4.0), (3, 1, 4.0, 1.0)):
        made = files(tmp_path, number, base)
        made.begin({"encoder.w": np.array([10, 10], "f4")}, SHARED)
        correction = made.correction()["encoder.w"]
        made.keep_mean({"encoder.w": np.full(2, mean, np.float32)})
        np.testing.assert_array_equal(made.end(SHARED)["encoder.w"], [expected] * 2)
    np.testing.assert_array_equal(correction, [7, 7])


def test_a_round_done_again_starts_where_it_did(tmp_path: Path) -> None:
    """Killed after round 2 was kept: the file of round 2 is there and must not be used."""
    for number, base in ((1, 0), (2, 1), (2, 1)):
        made = files(tmp_path, number, base)
        made.begin({}, SHARED)
        made.keep_mean({"encoder.w": np.full(2, 5.0 * number, np.float32)})
        change = made.end(SHARED)
    np.testing.assert_array_equal(change["encoder.w"], [5, 5])


def test_the_server_may_go_on_from_its_checkpoint_before_the_last(tmp_path: Path) -> None:
    """Of five rounds, those that a later instruction can name are there, and no other."""
    for number in range(1, 6):
        made = files(tmp_path, number, number - 1)
        made.begin({}, SHARED)
        made.keep_mean({})
        made.end(SHARED)
    kept = {path.name for path in (tmp_path / "control").glob("finetune-*")}
    assert kept == {f"finetune-0000{number}.safetensors" for number in (3, 4, 5)}


def test_a_site_without_the_round_that_is_counted_says_so(tmp_path: Path) -> None:
    """Zero in its place would leave the server's mean wrong for the rest of the run."""
    with pytest.raises(FederationError, match="does not hold its control variate of finetune rou"):
        given(tmp_path, {}, base=2)


def test_a_step_that_is_skipped_is_in_no_mean(tmp_path: Path) -> None:
    made = given(tmp_path, {"encoder.w": [1, 1]})
    weight = nn.Parameter(torch.zeros(2))
    control = ControlVariate({"encoder.w": weight}, made)
    for gradient in ([2.0, 2.0], [float("inf"), 0.0], [4.0, 4.0]):
        weight.grad = torch.tensor(gradient)
        control.add()
    control.finish()
    np.testing.assert_array_equal(made.end(SHARED)["encoder.w"], [3, 3])


def test_parameters_without_gradient_or_correction_are_left_alone(tmp_path: Path) -> None:
    """A head in a batch without its labels, and a decoder that stays at the site."""
    made = given(tmp_path, {"heads.ef.w": [1]})
    head, decoder = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    control = ControlVariate({"heads.ef.w": head, "decoder.w": decoder}, made)
    decoder.grad = torch.ones(1)
    control.add()
    head.grad = torch.full((1,), 6.0)
    control.add()
    assert decoder.grad.item() == 1
    control.finish()
    np.testing.assert_array_equal(made.end(SHARED)["heads.ef.w"], [6])


def corrected(state: Path, correction: float, **changes: object) -> tuple[float, dict[str, float]]:
    """Weight and mean gradient after a local round of AdamW on losses 2 w, 4 w, 6 w."""
    work = job(
        [2.0, 4.0, 6.0], PLAIN.model_copy(update=changes), context(state=state, control=True)
    )
    made = ControlFiles(state, Phase.PRETRAIN, 1)
    made.begin({"weight": np.array([[correction]], np.float32)}, {"weight": np.zeros((1, 1))})
    train(work)
    mean = array_files.load(state / "control" / "pretrain.mean.safetensors")
    return work.model.weight.item(), mean["weight"].item()


def test_the_loop_corrects_before_it_clips(tmp_path: Path) -> None:
    """Gradients 2, 4, 6 have the mean 4, clipped at 1 or not. A correction of -20 turns each step
    round; had it come after the clip, the sum of -19 would have been no gradient of norm 1 either,
    so the moments tell: clipped, every gradient is -1, and the weight takes three whole steps up.
    """
    rates = [0.1 * (1 + np.cos(np.pi * (step + 0.5) / 9)) / 2 for step in range(3)]
    weight, mean = corrected(tmp_path, -20.0, clip_gradient=1.0)
    assert mean == 4.0
    assert weight == pytest.approx(1 + sum(rates), rel=1e-4)


def test_without_a_state_folder_it_says_what_it_needs() -> None:
    with pytest.raises(TrainingError, match=r"\(federation.aggregation\), but has no"):
        train(job([1.0], PLAIN, context(control=True)))


class KilledError(Exception):
    """Where a process would be."""


def test_a_round_that_was_saved_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Ended after four of its six steps, of which four were saved; the mean is of all six."""

    def run(folder: Path, ends: int) -> tuple[float, float]:
        factors = [2.0, 4.0, 6.0, 1.0, 5.0, 3.0]
        work = job(factors, PLAIN, context(state=folder, control=True, save_every=2))
        ControlFiles(folder, Phase.PRETRAIN, 1).begin(
            {"weight": np.array([[-1.5]], np.float32)}, {"weight": np.zeros((1, 1))}
        )
        slope, taken = work.objective, iter(range(ends))

        def objective(*batch: object) -> Iterator[object]:
            if next(taken, None) is None:
                raise KilledError
            return slope(*batch)

        try:
            train(replace(work, objective=objective))
        except KilledError:
            return run(folder, 100)
        mean = array_files.load(folder / "control" / "pretrain.mean.safetensors")["weight"].item()
        return work.model.weight.item(), mean

    whole = run(tmp_path / "whole", 100)
    assert run(tmp_path / "killed", 5) == whole
    assert whole[1] == 3.5
