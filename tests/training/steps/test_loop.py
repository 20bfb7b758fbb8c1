from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.contract import Phase
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.runtime.errors import EmptySiteError, TrainingError
from echofm_core.training.config import FinetuneConfig, PhaseConfig, PretrainConfig
from echofm_core.training.execution.ranks import ALONE, Ranks, slices
from echofm_core.training.objectives.losses import Losses, unsupervised
from echofm_core.training.steps.job import (
    LATER,
    Indices,
    LocalContext,
    LocalJob,
    _table_text,
    patient_numbers,
)
from echofm_core.training.steps.loop import batches, train
from echofm_core.training.steps.trainer import Trainer
from tests.training.site import context

PLAIN = PhaseConfig(batch_size=1, weight_decay=0.0, warmup_rounds=0.0, learning_rate=0.1)


@dataclass
class Slope:
    """Loss of a clip = weight * factor of that clip, so that every gradient is known by hand."""

    model: nn.Linear
    factors: list[float]
    ranks: Ranks = ALONE

    def __call__(self, rows: Indices, rng: np.random.Generator, parts: int = 1) -> Iterator[Losses]:
        own = rows[self.ranks.share(len(rows))]
        factors = torch.tensor([self.factors[row] for row in own])
        for part in slices(len(own), parts) or [slice(0)]:
            yield unsupervised(self.model.weight.reshape(()) * factors[part], len(rows))


def job(factors: list[float], config: PhaseConfig, where: LocalContext | None = None) -> LocalJob:
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    rows = [
        {"dataset": "d", "path": "/x", "patient_id": str(i // 2), "clip_id": str(i)}
        for i in range(len(factors))
    ]
    return LocalJob(
        phase=Phase.PRETRAIN,
        model=model,
        objective=Slope(model, factors, where.ranks if where else ALONE),
        clips=np.arange(len(factors)),
        manifest=manifest_from_rows(rows),
        config=config,
        context=where or context(),
    )


def test_every_clip_once_a_pass_in_batches_of_even_size() -> None:
    """7 clips in batches of at most 3 are 3 batches: 3, 2 and 2; twice, in another order."""
    work = job([1.0] * 7, PhaseConfig(batch_size=3, local_epochs=2))
    found = list(islice(batches(work), 6))
    assert [len(rows) for rows in found] == [3, 2, 2, 3, 2, 2]
    first, second = np.concatenate(found[:3]), np.concatenate(found[3:])
    assert sorted(first) == sorted(second) == list(range(7))
    assert list(first) != list(second)
    assert work.config.steps_of_round(7) == 6


def test_steps_go_on_over_rounds_pass_after_pass() -> None:
    """7 clips in batches of at most 3 are 3 batches a pass. Four steps a round are, over three
    rounds, four passes: each has every clip once, and no two have the same order. Two of the
    passes begin within a round, and the second and third round begin within a pass.
    """
    config = PhaseConfig(batch_size=3, local_steps=4)
    found = []
    for round_ in (1, 2, 3):
        work = job([1.0] * 7, config, context(round=round_))
        assert config.steps_of_round(7) == 4
        found += list(islice(batches(work), 4))
    passes = [np.concatenate(found[start : start + 3]) for start in range(0, 12, 3)]
    assert [len(rows) for rows in found] == [3, 2, 2] * 4
    assert all(sorted(rows) == list(range(7)) for rows in passes)
    assert len({tuple(rows) for rows in passes}) == 4


def test_a_round_of_many_passes_is_the_order_of_many_rounds() -> None:
    """Rounds of five steps and rounds of one draw the same batches: nothing hangs on the round."""

    def order(steps: int, rounds: int) -> list[list[int]]:
        config = PhaseConfig(batch_size=2, local_steps=steps)
        works = [job([1.0] * 5, config, context(round=1 + number)) for number in range(rounds)]
        return [rows.tolist() for work in works for rows in islice(batches(work), steps)]

    assert order(5, 2) == order(1, 10) == order(10, 1)


def test_a_round_takes_the_steps_of_the_plan_however_many_clips_there_are() -> None:
    """The rate's last value is that of the fifth step of five: both sites end at one place."""
    config = PLAIN.model_copy(update={"local_steps": 5})
    small, large = train(job([0.1] * 2, config)), train(job([0.1] * 30, config))
    assert small["steps"] == large["steps"] == 5
    rate = 0.1 * (1 + np.cos(np.pi * 0.9 / 3)) / 2
    assert small["learning_rate"] == large["learning_rate"] == pytest.approx(rate)


def test_one_round_by_hand() -> None:
    """Adam's first step is the learning rate: 1 - 0.1 * (1 + cos(pi / 6)) / 2 at progress 0.5 of 3.

    The journal gets that rate, the loss before the step (2 * 1), and the step.
    """
    work = job([2.0], PLAIN)
    metrics = train(work)
    rate = 0.1 * (1 + np.cos(np.pi / 6)) / 2
    assert work.model.weight.item() == pytest.approx(1 - rate)
    assert metrics == pytest.approx(
        {"loss": 2.0, "steps": 1.0, "skipped": 0.0, "learning_rate": rate}
    )


def test_broken_steps_are_skipped_and_counted() -> None:
    """The two broken clips leave the weight alone: it moves as if they were not there."""
    broken = job([1.0, float("nan"), 1.0, float("inf")], PLAIN)
    metrics = train(broken)
    assert metrics["skipped"] == 2
    assert metrics["steps"] == 2
    assert metrics["loss"] < 1.01
    weight = broken.model.weight.item()
    assert np.isfinite(weight)
    assert weight < 1


def test_too_many_broken_steps_end_the_round() -> None:
    config = PLAIN.model_copy(update={"max_skipped_steps": 1})
    with pytest.raises(TrainingError, match="2 steps had a non-finite loss"):
        train(job([float("nan")] * 3, config))


def test_a_gradient_that_overflows_is_skipped_although_the_loss_is_finite() -> None:
    work = job([1.0], PLAIN)

    def objective(rows: Indices, rng: np.random.Generator, parts: int = 1) -> list[Losses]:
        root = (work.model.weight.reshape(1) - 1).abs().sqrt()  # 0, with an infinite slope
        return [unsupervised(root)]

    metrics = train(replace(work, objective=objective))
    assert metrics["skipped"] == 1
    assert work.model.weight.item() == 1


def test_too_many_broken_gradients_end_the_round() -> None:
    work = job([1.0] * 3, PLAIN.model_copy(update={"max_skipped_steps": 1}))

    def objective(rows: Indices, rng: np.random.Generator, parts: int = 1) -> list[Losses]:
        return [unsupervised((work.model.weight.reshape(1) - 1).abs().sqrt())]

    with pytest.raises(TrainingError, match="2 steps had a non-finite loss or gradient, more than"):
        train(replace(work, objective=objective))
    assert work.model.weight.item() == 1


def test_gradients_are_clipped() -> None:
    """Adam hides a gradient's length, its first moment shows it: 0.1 * 0.5, and not 0.1 * 50."""
    work = job([50.0], PLAIN.model_copy(update={"clip_gradient": 0.5}))
    trainer = Trainer(work)
    trainer.step(work.objective(np.array([0]), np.random.default_rng(0)))
    moment = trainer.optimizer.state[work.model.weight]["exp_avg"]
    assert moment.item() == pytest.approx(0.1 * 0.5, rel=1e-4)


def test_the_proximal_term_holds_weights_near_their_start() -> None:
    config = PLAIN.model_copy(update={"local_epochs": 20, "clip_gradient": 0.0})
    free, held = job([1.0], config), job([1.0], config, context(proximal_mu=10.0))
    train(free)
    train(held)
    assert 1 - held.model.weight.item() < 0.5 * (1 - free.model.weight.item())


def test_kept_moments_need_a_folder_and_are_used(tmp_path: Path) -> None:
    config = PLAIN.model_copy(update={"keep_optimizer": True})
    with pytest.raises(TrainingError, match="no state folder"):
        train(job([1.0], config))
    first = job([1.0], config, context(state=tmp_path))
    train(first)
    # A gradient of another sign: fresh moments turn round at once, kept ones do not yet.
    kept = job([-0.1], config, context(state=tmp_path, round=2))
    fresh = job([-0.1], PLAIN, context(round=2))
    train(kept)
    train(fresh)
    assert kept.model.weight.item() < 1 < fresh.model.weight.item()


def test_the_rate_of_a_stage_is_that_of_a_phase_of_its_own() -> None:
    """Rounds 4 and 5 of a stage that is rounds 4 to 6 are the first two of three."""
    config = PhaseConfig(batch_size=1, warmup_rounds=1.0, learning_rate=0.1)

    def rates(numbers: tuple[int, ...], **where: int) -> list[float]:
        works = [job([1.0], config, context(round=r, **where)) for r in numbers]
        return [work.rate(step, 2) for work in works for step in (0, 1)]

    alone = rates((1, 2), rounds=3)
    assert rates((4, 5), rounds=6, first=4) == alone
    assert alone[:2] == pytest.approx([0.025, 0.075]), "half of the first and of the second step"


def test_keys_that_came_later_leave_noise_as_it_was() -> None:
    """Repeatable noise is drawn by a digest of the table, in which only other values show."""
    plain = json.loads(_table_text(PretrainConfig()))
    assert not LATER & plain.keys() and PretrainConfig.model_fields.keys() >= LATER
    latent = json.loads(_table_text(PretrainConfig(target="latent", teacher_rounds=2)))
    assert latent == {**plain, "target": "latent", "teacher_rounds": 2}
    assert _table_text(FinetuneConfig()).startswith('{"rounds":10,')


def test_a_site_without_clips_says_so() -> None:
    with pytest.raises(EmptySiteError, match="site here has no clip"):
        job([], PLAIN)


def test_patients_of_two_data_sets_are_two() -> None:
    rows = [("a", "1"), ("b", "1"), ("a", "1"), ("a", "2")]
    manifest = manifest_from_rows(
        {"dataset": d, "patient_id": p, "clip_id": str(i), "path": "/x"}
        for i, (d, p) in enumerate(rows)
    )
    assert patient_numbers(manifest).tolist() == [0, 1, 0, 2]
