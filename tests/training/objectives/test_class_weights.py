from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_echo_model
from echofm_core.tasks import Task
from echofm_core.training.config import ClassWeights
from echofm_core.training.objectives.class_weights import balanced, emphasis_of
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.losses import supervised
from echofm_core.training.objectives.targets import targets_of
from tests.training.site import PLAN, TASKS, context

BALANCED = PLAN.finetune.model_copy(update={"class_weights": ClassWeights.BALANCED})


def test_effective_numbers_by_hand() -> None:
    """One clip counts 1, two count 1.999: inverses 1 and 1 / 1.999, over their mean of 3 clips."""
    mean = (1 + 2 / 1.999) / 3
    assert balanced([1, 2]).tolist() == pytest.approx([1 / mean, 1 / 1.999 / mean])


def test_few_clips_are_weighed_by_their_inverse_and_many_alike() -> None:
    """Below 1000 clips hardly overlap; far above it, a class is as well known as another."""
    few, many = balanced([1, 10]), balanced([20_000, 200_000])
    assert few[0] / few[1] == pytest.approx(10, rel=0.01)
    assert many.tolist() == pytest.approx([1, 1], abs=1e-3)


@pytest.mark.parametrize("counts", [[5, 95], [0, 3, 400, 17, 1], [7, 0]])
def test_the_mean_over_clips_is_one(counts: list[int]) -> None:
    """So that the learning rate means what it did; a class without clips has a finite weight."""
    weights = balanced(counts).numpy()
    assert np.average(weights, weights=counts) == pytest.approx(1)
    assert np.isfinite(weights).all()


def test_a_site_without_any_clip_of_a_task_is_no_error() -> None:
    assert torch.isfinite(balanced([0, 0])).all()


def test_own_labels_are_counted_unless_the_plan_names_counts(clips: ClipWindows) -> None:
    """EF 20 to 55 in steps of 5, two clips each: 12 below 50, 4 not; grades 1 and 2, two each."""
    targets = targets_of(clips.manifest, TASKS, 50.0, {})
    own = emphasis_of(BALANCED, targets).weights
    assert torch.equal(own[Task.REDUCED_EF], balanced([4, 12]))
    assert torch.equal(own[Task.AS_GRADE], balanced([0, 2, 2, 0, 0]))
    assert set(own) == {Task.REDUCED_EF, Task.AS_GRADE, Task.VIEW}
    named = BALANCED.model_copy(update={"class_counts": {Task.REDUCED_EF: (780, 220)}})
    weights = emphasis_of(named, targets).weights
    assert torch.equal(weights[Task.REDUCED_EF], balanced([780, 220]))
    assert torch.equal(weights[Task.AS_GRADE], own[Task.AS_GRADE])
    assert not emphasis_of(PLAN.finetune, targets).weights


def test_losses_are_those_of_torch_with_weights(clips: ClipWindows) -> None:
    """Against the weight arguments of torch's own losses, on random logits."""
    rng = torch.Generator().manual_seed(0)
    targets = {
        task: torch.from_numpy(values)
        for task, values in targets_of(clips.manifest, TASKS[2:4], 50.0, {}).items()
    }
    emphasis = emphasis_of(BALANCED, {task: item.numpy() for task, item in targets.items()})
    outputs = {
        Task.REDUCED_EF: torch.randn(24, 1, generator=rng),
        Task.AS_GRADE: torch.randn(24, 5, generator=rng),
    }
    found = supervised(outputs, targets, emphasis).task_means()

    binary = targets[Task.REDUCED_EF][:16]
    of_clip = emphasis.weights[Task.REDUCED_EF][binary.long()]
    wanted = F.binary_cross_entropy_with_logits(outputs[Task.REDUCED_EF][:16, 0], binary, of_clip)
    assert found[0].item() == pytest.approx(wanted.item(), rel=1e-5)
    grades = targets[Task.AS_GRADE][20:].long()
    total = F.cross_entropy(
        outputs[Task.AS_GRADE][20:], grades, emphasis.weights[Task.AS_GRADE], reduction="sum"
    )
    assert found[1].item() == pytest.approx(total.item() / 4, rel=1e-5)


def test_a_rare_class_is_learnt_sooner(clips: ClipWindows) -> None:
    """12 reduced against 4: the plain loss first learns to say reduced, the balanced one does not.

    The head starts at a chance of 1/2. Mean logits of the balanced loss stay nearer to 0, where
    both classes weigh the same, than those of the plain one, which go to ln 3.
    """
    logit = {}
    windows = to_batch([clips.test_windows(index)[0] for index in range(len(clips))])
    for name, config in {"plain": PLAN.finetune, "balanced": BALANCED}.items():
        only = config.model_copy(update={"tasks": (Task.REDUCED_EF,), "local_epochs": 4})
        model = build_echo_model(PLAN.model_copy(update={"finetune": only}))
        finetune_round(model, clips, only, context())
        with torch.no_grad():
            found = model(*model.inputs(windows, torch.device("cpu")))[Task.REDUCED_EF]
        logit[name] = found.mean().item()
    assert logit["plain"] > 0
    assert abs(logit["balanced"]) < 0.5 * logit["plain"]
