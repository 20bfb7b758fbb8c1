import copy

import torch
from torch import nn

from echofm_core.training.steps.proximal import ProximalPull


def test_gradient_by_hand() -> None:
    """mu / 2 * (w - w0)^2 with mu 0.5, w0 1 and w 3 has the slope 0.5 * 2 = 1."""
    weight = nn.Parameter(torch.tensor([1.0]))
    pull = ProximalPull([weight], mu=0.5)
    with torch.no_grad():
        weight.fill_(3.0)
    weight.grad = torch.tensor([10.0])
    pull.add()
    assert weight.grad.item() == 11.0


def test_gradient_equals_that_of_the_squared_norm() -> None:
    """Against autograd of 0.5 * mu * sum((w - w0)^2), on a network away from its start."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    start = copy.deepcopy(net)
    pull = ProximalPull(net.parameters(), mu=0.3)
    with torch.no_grad():
        for item in net.parameters():
            item.add_(torch.randn_like(item))
    data = torch.randn(5, 3)

    distance = sum(
        ((w - w0.detach()) ** 2).sum()
        for w, w0 in zip(net.parameters(), start.parameters(), strict=True)
    )
    (net(data).sum() + 0.5 * 0.3 * distance).backward()
    expected = [item.grad.clone() for item in net.parameters() if item.grad is not None]

    net.zero_grad()
    net(data).sum().backward()
    pull.add()
    for item, wanted in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(item.grad, wanted)


def test_what_has_no_gradient_is_not_pulled() -> None:
    frozen = nn.Parameter(torch.zeros(1))
    pull = ProximalPull([frozen], mu=1.0)
    pull.add()
    assert frozen.grad is None
