"""A batch in parts is the batch: same draws, same gradients, labels missing however they may."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.runtime.randomness import torch_stream
from echofm_core.tasks import STANDARDISATION
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.config import Precision
from echofm_core.training.execution.forward import stochastic_depth
from echofm_core.training.execution.ranks import slices
from echofm_core.training.objectives.finetune import SupervisedObjective, finetune_round
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.objectives.pretrain import MaskedObjective, pretrain_round
from echofm_core.training.objectives.targets import targets_of
from echofm_core.training.steps.loop import train
from tests.training.site import PLAN, TASKS, context
from tests.training.steps.test_loop import PLAIN, job

#: Clips 0 to 15 have an EF, 16 to 19 nothing, 20 to 23 a grade: no part has what another has.
ROWS = np.array([0, 3, 16, 20, 7, 17, 22])
CPU = torch.device("cpu")


def gradients(
    model: nn.Module, parts: Iterable[Losses], total: Callable[[Losses], torch.Tensor]
) -> tuple[float, dict[str, torch.Tensor]]:
    """Sum of the parts' losses, and the gradients that it gave."""
    model.zero_grad()
    loss = 0.0
    for losses in parts:
        value = total(losses)
        value.backward()
        loss += value.item()
    found = {
        name: torch.zeros_like(item) if item.grad is None else item.grad.clone()
        for name, item in model.named_parameters()
    }
    return loss, found


def close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    scale = max(item.abs().max().item() for item in theirs.values())
    return all((ours[name] - theirs[name]).abs().max() <= 1e-5 * scale for name in theirs)


def test_parts_are_even_whole_and_never_empty() -> None:
    assert [(part.start, part.stop) for part in slices(7, 3)] == [(0, 2), (2, 5), (5, 7)]
    assert [(part.start, part.stop) for part in slices(2, 5)] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("parts", [2, 3, 7, 50])
def test_fine_tuning_with_uneven_labels(clips: ClipWindows, parts: int) -> None:
    """Changed windows, stochastic depth and all; parts averaged each by itself would differ."""
    model = build_echo_model(PLAN).train()
    targets = targets_of(clips.manifest, TASKS[:4], 50.0, STANDARDISATION)

    def run(count: int, total: Callable[[Losses], torch.Tensor]):
        paths = torch_stream(0, "", 0, "paths")
        with stochastic_depth(model.encoder.blocks, 0.3, paths) as depth:
            objective = SupervisedObjective(
                model=model,
                clips=clips,
                device=CPU,
                precision=Precision.FP32,
                targets={task: torch.from_numpy(values) for task, values in targets.items()},
                augmentation=AugmentationConfig(speckle=1.0),
                depth=depth,
            )
            return gradients(model, objective(ROWS, np.random.default_rng(1), count), total)

    whole_loss, whole = run(1, Losses.of_batch)
    loss, split = run(parts, Losses.of_batch)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert close(split, whole)

    def alone(losses: Losses) -> torch.Tensor:
        return (losses.values.sum(dim=0) / losses.counted.sum(dim=0).clamp(min=1)).sum()

    assert not close(run(parts, alone)[1], whole)


@pytest.mark.parametrize("parts", [2, 3])
def test_pre_training_with_the_same_masks(clips: ClipWindows, parts: int) -> None:
    model = build_autoencoder(PLAN).train()

    def run(count: int):
        objective = MaskedObjective(
            model=model,
            clips=clips,
            device=CPU,
            masks=torch_stream(0, "", 0, "masks"),
            precision=Precision.FP32,
        )
        return gradients(model, objective(ROWS, np.random.default_rng(1), count), Losses.of_batch)

    (whole_loss, whole), (loss, split) = run(1), run(parts)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert close(split, whole)


def test_rounds_in_parts_report_the_same(clips: ClipWindows) -> None:
    """Losses after one and two steps too, so the steps were the same up to rounding."""
    metrics = []
    for accumulate in (1, 3):
        where = context(accumulate=accumulate)
        first = finetune_round(build_echo_model(PLAN), clips, PLAN.finetune, where)
        second = pretrain_round(build_autoencoder(PLAN), clips, PLAN.pretrain, where)
        metrics.append({**first.metrics, "mae": second.metrics["loss"]})
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-4)
    assert metrics[1]["steps"] == 3


def test_a_broken_part_breaks_its_step_and_no_other() -> None:
    """Two steps of two clips; the NaN's neighbour must not move the weight by what it left."""
    factors = [1.0, float("nan"), 1.0, 1.0]
    config = PLAIN.model_copy(update={"batch_size": 2})
    work = job(factors, config, context(accumulate=2))
    metrics = train(work)
    whole = job(factors, config)
    assert metrics["skipped"] == 1
    assert train(whole) == metrics
    assert torch.equal(work.model.weight, whole.model.weight)
