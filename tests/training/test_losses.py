import math

import pytest
import torch

from echofm_core.tasks import Task
from echofm_core.training.losses import Losses, supervised, unsupervised

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
