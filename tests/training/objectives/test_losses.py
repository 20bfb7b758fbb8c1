import math

import pytest
import torch

from echofm_core.tasks import Task
from echofm_core.training.objectives.losses import Emphasis, Losses, supervised, unsupervised

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
