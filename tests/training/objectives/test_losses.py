from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_echo_model
from echofm_core.tasks import STANDARDISATION, Task
from echofm_core.training.config import ClassWeights
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.losses import (
    Emphasis,
    Losses,
    balanced,
    emphasis_of,
    supervised,
    unsupervised,
)
from echofm_core.training.objectives.targets import targets_of
from tests.training.site import PLAN, TASKS, context

NAN = float("nan")


def test_each_task_is_averaged_over_its_labelled_clips_only() -> None:
    """By hand. EF: errors 3 and 0.5 give smooth L1 2.5 and 0.125, mean 1.3125 of two.

    Reduced EF: logit 0 costs ln 2, of the one that is labelled. Grade: five equal logits cost
    ln 5. The sum is the batch's loss.
    """
    outputs = {
        Task.EF: torch.tensor([[3.0], [0.5], [100.0]]),
        Task.REDUCED_EF: torch.zeros(3, 1),
        Task.AS_GRADE: torch.zeros(3, 5),
    }
    targets = {
        Task.EF: torch.tensor([0.0, 0.0, NAN]),
        Task.REDUCED_EF: torch.tensor([NAN, 1.0, NAN]),
        Task.AS_GRADE: torch.tensor([NAN, NAN, 4.0]),
    }
    losses = supervised(outputs, targets)
    expected = [1.3125, math.log(2), math.log(5)]
    assert losses.task_means().tolist() == pytest.approx(expected)
    assert losses.of_batch().item() == pytest.approx(sum(expected))
    assert losses.of_samples().tolist() == pytest.approx([2.5, 0.125 + math.log(2), math.log(5)])


def test_missing_labels_send_no_gradient_back() -> None:
    output = torch.tensor([[1.0], [2.0]], requires_grad=True)
    losses = supervised({Task.EF: output}, {Task.EF: torch.tensor([NAN, 0.0])})
    losses.of_batch().backward()
    assert output.grad is not None
    assert output.grad.tolist() == [[0.0], [1.0]]  # slope of |x| - 0.5 at 2


def test_a_batch_without_any_label_costs_nothing() -> None:
    output = torch.ones(2, 1, requires_grad=True)
    losses = supervised({Task.EF: output}, {Task.EF: torch.tensor([NAN, NAN])})
    assert losses.of_batch().item() == 0
    losses.of_batch().backward()
    assert output.grad is not None
    assert not output.grad.any()


def test_unsupervised_losses_are_a_mean_over_samples() -> None:
    losses = unsupervised(torch.tensor([1.0, 4.0]))
    assert isinstance(losses, Losses)
    assert losses.of_batch().item() == 2.5
    assert losses.of_samples().tolist() == [1, 4]


def test_parts_add_up_to_the_batch() -> None:
    """By hand: errors 3, 2 and 0.5 cost 2.5, 1.5 and 0.125 of three labels, in parts of 1 and 3."""
    output = torch.tensor([[3.0], [2.0], [7.0], [0.5]])
    target = torch.tensor([0.0, 0.0, NAN, 0.0])
    totals = torch.tensor([3])
    first, second = (
        supervised({Task.EF: output[part]}, {Task.EF: target[part]}, totals=totals)
        for part in (slice(0, 1), slice(1, 4))
    )
    assert first.of_batch().item() == pytest.approx(2.5 / 3)
    assert second.of_batch().item() == pytest.approx(1.625 / 3)
    parts = [unsupervised(torch.tensor(values), 3) for values in ([3.0], [6.0, 9.0])]
    assert [part.of_batch().item() for part in parts] == [1, 5]


def test_focal_loss_by_hand() -> None:
    """Gamma 2. Logit 0 is p = 1/2: ln 2 / 4. Five equal logits are p = 1/5: 0.64 ln 5.

    A regression is left alone.
    """
    outputs = {
        Task.EF: torch.tensor([[0.5]]),
        Task.REDUCED_EF: torch.zeros(1, 1),
        Task.AS_GRADE: torch.zeros(1, 5),
    }
    targets = {
        Task.EF: torch.tensor([0.0]),
        Task.REDUCED_EF: torch.tensor([1.0]),
        Task.AS_GRADE: torch.tensor([3.0]),
    }
    found = supervised(outputs, targets, Emphasis(gamma=2.0)).task_means().tolist()
    assert found == pytest.approx([0.125, math.log(2) / 4, 0.64 * math.log(5)])


def test_focal_loss_of_random_logits() -> None:
    """Against -w (1 - p)^gamma log p with p of a softmax and a sigmoid in float64."""
    rng = torch.Generator().manual_seed(0)
    logits, scores = torch.randn(9, 5, generator=rng) * 3, torch.randn(9, 1, generator=rng) * 3
    grades, reduced = torch.arange(9) % 5, torch.arange(9) % 2
    weights = {Task.AS_GRADE: torch.tensor([1.0, 2, 3, 4, 5])}
    found = supervised(
        {Task.AS_GRADE: logits, Task.REDUCED_EF: scores},
        {Task.AS_GRADE: grades.float(), Task.REDUCED_EF: reduced.float()},
        Emphasis(gamma=1.5, weights=weights),
    ).values
    chance = logits.double().softmax(dim=1)[torch.arange(9), grades]
    wanted = -((1 - chance) ** 1.5) * chance.log() * (grades + 1)
    torch.testing.assert_close(found[:, 0].double(), wanted, rtol=1e-4, atol=1e-7)
    positive = scores[:, 0].double().sigmoid()
    chance = torch.where(reduced == 1, positive, 1 - positive)
    wanted = -((1 - chance) ** 1.5) * chance.log()
    torch.testing.assert_close(found[:, 1].double(), wanted, rtol=1e-4, atol=1e-7)


def test_a_certain_answer_has_a_finite_gradient() -> None:
    """(1 - p)^0.5 has an infinite slope at p = 1."""
    output = torch.full((1, 1), 500.0, requires_grad=True)
    losses = supervised(
        {Task.REDUCED_EF: output}, {Task.REDUCED_EF: torch.ones(1)}, Emphasis(gamma=0.5)
    )
    losses.of_batch().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()


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
    targets = targets_of(clips.manifest, TASKS, 50.0, STANDARDISATION)
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
        for task, values in targets_of(clips.manifest, TASKS[2:4], 50.0, STANDARDISATION).items()
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
