"""What is called published gives the numbers of the release's description, computed by itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from benchmarks.peers import stff_net
from echofm_core.models import pooling
from echofm_core.models.build import count
from echofm_core.models.stf_published import PublishedStfNet
from tests.models.released_stff_net import Attention, Bottleneck, Weights, frame_code, fused
from tests.models.small import generator

GRID, WIDTH, BATCH = (4, 3, 5), 24, 3


def randomised(net: nn.Module) -> nn.Module:
    """Weights and norms that no swap, sign or lost layer survives unseen."""
    source = generator(11)
    with torch.no_grad():
        for parameter in net.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(torch.randn(parameter.shape, generator=source) * (1.5 / math.sqrt(fan)))
    return net


def bottleneck(body: nn.Module) -> Bottleneck:
    layers = [
        layer for layer in body.modules() if isinstance(getattr(layer, "weight", None), Tensor)
    ]
    return Bottleneck(
        kernels=[layer.weight for layer in layers[0::2]],  # type: ignore[misc]
        norms=[(layer.weight, layer.bias) for layer in layers[1::2]],  # type: ignore[misc]
    )


def attention(pool: nn.Module) -> Attention:
    assert [name for name, _ in pool.named_parameters()] == [
        "value.weight",
        "gate.weight",
        "score.weight",
    ]
    value, gate, score = pool.parameters()
    return Attention(value=value, gate=gate, score=score[0])


def layers_of_time(mlp: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(layer.weight, layer.bias) for layer in mlp if isinstance(layer, nn.Linear)]  # type: ignore[union-attr]


def tokens() -> Tensor:
    return torch.randn(BATCH, math.prod(GRID), WIDTH, generator=generator(12))


def agrees(ours: Tensor, expected: Tensor) -> None:
    """To 1e-5 of numbers whose mean size is near one."""
    assert 0.1 < float(expected.abs().mean()) < 10
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_the_published_form_is_the_release_with_its_axes_put_right() -> None:
    """Against ``fused`` with moved axes and group norms; the time code is of seconds, by hand:
    period ``0.1 * 100 ** (2 k / D)`` in channels 2 k (sine) and 2 k + 1 (cosine)."""
    net = randomised(PublishedStfNet(GRID, WIDTH))
    assert isinstance(net, PublishedStfNet)
    seconds = torch.rand(BATCH, GRID[0], generator=generator(13))
    code = torch.zeros(BATCH, GRID[0], WIDTH)
    for channel in range(WIDTH):
        period = pooling.SHORTEST_PERIOD * (pooling.LONGEST_PERIOD / pooling.SHORTEST_PERIOD) ** (
            2 * (channel // 2) / WIDTH
        )
        angle = seconds * (2 * math.pi / period)
        code[..., channel] = angle.cos() if channel % 2 else angle.sin()
    _, rows, cols = GRID
    merge = net.slot_merge.weight.reshape(WIDTH, rows, cols, WIDTH).permute(0, 3, 1, 2)
    weights = Weights(
        joint=bottleneck(net.joint_body.body),
        joint_pool=attention(net.joint_pool),
        space=bottleneck(net.slot_body.body),
        merge=(merge, net.slot_merge.bias),
        time=layers_of_time(net.time_code.mlp),
        time_pool=attention(net.slot_pool),
    )
    with torch.no_grad():
        grid = tokens()
        expected = fused(grid, code, GRID, weights, released=False)
        agrees(net(grid.unflatten(1, (GRID[0], -1)), seconds), expected)


def test_the_peer_of_the_benchmark_is_the_release_with_all_its_mistakes() -> None:
    """Against ``fused`` with re-cut features and norms over the batch, as in a training step."""
    net = randomised(stff_net.StffNet(GRID, WIDTH)).train()
    assert isinstance(net, stff_net.StffNet)
    frames = torch.arange(2 * GRID[0]).expand(BATCH, -1) * torch.tensor([[1.0], [3.0], [7.0]])
    weights = Weights(
        joint=bottleneck(net.joint.body),
        joint_pool=attention(net.joint_pool),
        space=bottleneck(net.space.body),
        merge=(net.merge.weight, net.merge.bias),  # type: ignore[arg-type]
        time=layers_of_time(net.time_code),
        time_pool=attention(net.time_pool),
    )
    with torch.no_grad():
        expected = fused(tokens(), frame_code(frames, WIDTH), GRID, weights, released=True)
        agrees(net(tokens(), frames), expected)


def test_the_published_head_is_three_layers_with_batch_norm_between() -> None:
    """(x - mean) / spread over the batch, scaled and shifted, ReLU, after the first two layers."""
    head = randomised(stff_net.head(WIDTH)).train()
    assert isinstance(head, nn.Sequential)
    features = torch.randn(7, WIDTH, generator=generator(14))
    with torch.no_grad():
        expected = features
        for linear, norm in ((head[0], head[1]), (head[3], head[4])):
            drawn = expected @ linear.weight.T + linear.bias  # type: ignore[union-attr, operator]
            centred = drawn - drawn.mean(dim=0)
            unit = centred / (centred.square().mean(dim=0) + 1e-5).sqrt()
            expected = (unit * norm.weight + norm.bias).clamp(min=0)  # type: ignore[operator]
        expected = expected @ head[6].weight.T + head[6].bias  # type: ignore[union-attr, operator]
        agrees(head(features), expected)
    assert [layer.out_features for layer in head if isinstance(layer, nn.Linear)] == [200, 100, 1]


@pytest.mark.parametrize(("width", "rows", "cols"), [(768, 14, 14), (WIDTH, 3, 5)])
def test_both_have_the_parameters_of_the_release(width: int, rows: int, cols: int) -> None:
    """Without biases in the attention pools; at base size 4,574,208 + 1,920,000 + 115,606,272
    + 1,181,184 + 3,147,776, counted layer by layer."""
    with torch.device("meta"):
        peer = stff_net.StffNet((8, rows, cols), width)
        ours = PublishedStfNet((8, rows, cols), width)
    assert count(ours) == count(peer)
    if width == 768:
        assert count(peer) == 126_429_440
