"""What each process takes of a batch; nothing is exchanged here, so one process plays all."""

from __future__ import annotations

from collections.abc import Callable

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
from echofm_core.training.execution.ranks import Ranks
from echofm_core.training.objectives.finetune import SupervisedObjective
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.objectives.pretrain import MaskedObjective
from echofm_core.training.objectives.targets import targets_of
from echofm_core.training.steps.job import Objective
from tests.training.site import PLAN, TASKS
from tests.training.steps.test_accumulate import CPU, ROWS, close, gradients

AUGMENTATION = AugmentationConfig(speckle=1.0, crop=0.2, flip=0.5)
#: Makes an objective for a process; its own generators are the list's.
Made = Callable[[Ranks, list[torch.Generator]], Objective]


def test_shares_are_whole_even_and_first_come_first_served() -> None:
    """7 over 3 are 2, 3 and 2; 2 over 3 are 1, 1 and none."""

    def shares(samples: int, world: int) -> list[tuple[int, int]]:
        found = [Ranks(rank=rank, world=world).share(samples) for rank in range(world)]
        return [(share.start, share.stop) for share in found]

    assert shares(7, 3) == [(0, 2), (2, 5), (5, 7)]
    assert shares(2, 3) == [(0, 1), (1, 2), (2, 2)]
    assert shares(5, 1) == [(0, 5)]


@pytest.mark.parametrize("world", [2, 3, 8])
def test_fine_tuning_adds_up(clips: ClipWindows, world: int) -> None:
    """Seven rows of which three have an EF, two a grade and two nothing, over up to 8 processes."""
    model = build_echo_model(PLAN).train()
    targets = targets_of(clips.manifest, TASKS[:4], 50, STANDARDISATION)

    with stochastic_depth(model.encoder.blocks, 0.3, torch_stream(0, "", 0, "p")) as depth:
        assert depth

        def made(ranks: Ranks, generators: list[torch.Generator]) -> Objective:
            depth.generator = generators[0]
            return SupervisedObjective(
                model=model,
                clips=clips,
                device=CPU,
                precision=Precision.FP32,
                targets={task: torch.from_numpy(values) for task, values in targets.items()},
                augmentation=AUGMENTATION,
                depth=depth,
                ranks=ranks,
            )

        adds_up(model, made, world)


@pytest.mark.parametrize("world", [2, 8])
def test_pre_training_adds_up(clips: ClipWindows, world: int) -> None:
    model = build_autoencoder(PLAN).train()

    def made(ranks: Ranks, generators: list[torch.Generator]) -> Objective:
        return MaskedObjective(
            model=model,
            clips=clips,
            device=CPU,
            masks=generators[0],
            precision=Precision.FP32,
            augmentation=AUGMENTATION,
            ranks=ranks,
        )

    adds_up(model, made, world)


def adds_up(model: nn.Module, made: Made, world: int) -> None:
    """Losses and gradients of all processes sum to those of one; all drew the same, and as much."""

    def run(ranks: Ranks) -> tuple[float, dict[str, torch.Tensor], tuple[float, float]]:
        windows, own = np.random.default_rng(1), torch_stream(0, "", 0, "own")
        objective = made(ranks, [own])
        parts = (losses for losses in objective(ROWS, windows, 2) if len(losses.values))
        loss, found = gradients(model, parts, Losses.of_batch)
        return loss, found, (windows.random(), torch.rand((), generator=own).item())

    loss, whole, after = run(Ranks())
    each = [run(Ranks(rank=rank, world=world)) for rank in range(world)]
    assert [draws for *_, draws in each] == [after] * world
    assert sum(value for value, *_ in each) == pytest.approx(loss, rel=1e-5)
    assert close({name: sum(found[name] for _, found, _ in each) for name in whole}, whole)
    if world == 2:  # what must not be done: labels are uneven
        assert not close({name: each[0][1][name] * 2 for name in whole}, whole)
