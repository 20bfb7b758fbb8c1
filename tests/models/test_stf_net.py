"""Both pathways leave tokens where they are, and read time as they say."""

import math

import pytest
import torch
from torch import Tensor, nn

from echofm_core.models.build import initialise
from echofm_core.models.config import StfNetForm
from echofm_core.models.masking import Subset
from echofm_core.models.pooling import STILLNESS, GatedAttentionPool, log_deviation_over_time
from echofm_core.models.stf_compact import POOL_HEADS, POSITION_WIDTH, CompactStfNet, LevelMix
from echofm_core.models.stf_net import build_stf_net
from echofm_core.models.stf_published import PublishedStfNet
from tests.models.small import generator

GRID, WIDTH, LEVELS = (4, 5, 6), 64, 3
#: Slot, row, column and channel of the token that is lit; no two alike, so no axis is mistaken.
PLACE, CHANNEL = (2, 1, 4), 7
FORMS = list(StfNetForm)
FUSING = [StfNetForm.COMPACT, StfNetForm.PUBLISHED]


def build(form: StfNetForm) -> nn.Module:
    net = build_stf_net(form, GRID, WIDTH, LEVELS)
    initialise(net, generator(1))
    return net.eval()


def tokens(batch: int) -> Tensor:
    """(B, slots, positions, D)."""
    return torch.randn(batch, *GRID, WIDTH, generator=generator(2)).flatten(2, 3)


def gridded(flat: Tensor) -> Tensor:
    """(B, slots, rows, cols, D)."""
    return flat.unflatten(2, GRID[1:])


def slot_times(batch: int) -> Tensor:
    return torch.linspace(0.1, 1.2, GRID[0]).expand(batch, -1) * torch.arange(1, batch + 1)[:, None]


def changed_places(net: nn.Module, method: str) -> Tensor:
    """Bool: where the output moves when one entry of one token does; a grid, or by slot."""
    grid = gridded(tokens(1))
    lit = grid.clone()
    lit[(0, *PLACE, CHANNEL)] += 1
    if not isinstance(net, PublishedStfNet):
        lit, grid = lit.flatten(2, 3), grid.flatten(2, 3)
    with torch.no_grad():
        difference = getattr(net, method)(lit) - getattr(net, method)(grid)
    moved = difference[0].abs().amax(dim=-1) > 1e-7
    return moved.reshape(GRID) if moved.numel() == math.prod(GRID) else moved


def neighbourhood(slots: int) -> Tensor:
    """Bool grid: PLACE, one step around it in space and ``slots`` steps in time."""
    near = torch.zeros(GRID, dtype=torch.bool)
    slot, row, column = PLACE
    near[slot - slots : slot + slots + 1, row - 1 : row + 2, column - 1 : column + 2] = True
    return near


def without_norms(net: PublishedStfNet) -> PublishedStfNet:
    """Group norms couple all positions through their statistics; the axes show without them."""
    for body in (net.joint_body.body, net.slot_body.body):
        for index, layer in enumerate(body):
            if isinstance(layer, nn.GroupNorm):
                body[index] = nn.Identity()
    return net


def test_published_joint_path_moves_a_token_by_one_step_of_its_convolution() -> None:
    """A 3 x 3 x 3 kernel reaches the 27 positions around the token, wherever the axes are right."""
    net = without_norms(build(StfNetForm.PUBLISHED))  # type: ignore[arg-type]
    assert torch.equal(changed_places(net, "joint"), neighbourhood(1))


def test_published_disjoint_path_moves_a_token_in_its_own_slot_only() -> None:
    """A 1 x 3 x 3 kernel reaches nine positions of the same slot."""
    net = without_norms(build(StfNetForm.PUBLISHED))  # type: ignore[arg-type]
    assert torch.equal(changed_places(net, "space"), neighbourhood(0))


def test_compact_joint_path_moves_a_token_by_one_step_of_its_convolution() -> None:
    net = build(StfNetForm.COMPACT)
    assert torch.equal(changed_places(net.joint, "body"), neighbourhood(1))  # type: ignore[arg-type]


def test_compact_disjoint_path_pools_each_slot_by_itself() -> None:
    """Only slot 2 moves; and permuting the positions of a slot does not."""
    net = build(StfNetForm.COMPACT)
    assert isinstance(net, CompactStfNet)
    assert changed_places(net.disjoint, "space").tolist() == [False, False, True, False]
    grid = tokens(1)
    turned = grid.flip(2)
    torch.testing.assert_close(net.disjoint.space(grid), net.disjoint.space(turned))


def test_convolutions_see_the_grid_with_channels_first() -> None:
    """One lit entry arrives at (channel, slot, row, column) and nowhere else."""
    net = build(StfNetForm.PUBLISHED)
    assert isinstance(net, PublishedStfNet)
    seen: list[Tensor] = []
    net.slot_body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lit = torch.zeros(1, *GRID, WIDTH)
    lit[(0, *PLACE, CHANNEL)] = 1
    net.space(lit)
    assert seen[0].nonzero().tolist() == [[0, CHANNEL, *PLACE]]


def disjoint(net: nn.Module, grid: Tensor, seconds: Tensor) -> Tensor:
    """The half of the output that the disjoint path gives."""
    width = net.disjoint.out_width if isinstance(net, CompactStfNet) else WIDTH
    fused: Tensor = net(grid, seconds)
    return fused[:, -width:]


@pytest.mark.parametrize("form", FUSING)
def test_slots_with_their_times_are_a_set_to_the_disjoint_path(form: StfNetForm) -> None:
    net, grid, seconds = build(form), tokens(2), slot_times(2)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        kept = disjoint(net, grid, seconds)
        permuted = disjoint(net, grid[:, order], seconds[:, order])
        times_alone = disjoint(net, grid, seconds[:, order])
    torch.testing.assert_close(permuted, kept, atol=1e-5, rtol=1e-4)
    assert (times_alone - kept).abs().max() > 1e-3


@pytest.mark.parametrize("form", FUSING)
def test_the_joint_path_reads_the_order_of_slots(form: StfNetForm) -> None:
    net, grid, seconds = build(form), tokens(1), slot_times(1)
    with torch.no_grad():
        forward, backward = net(grid, seconds), net(grid.flip(1), seconds.flip(1))
    half = net.out_width // 2
    assert (forward[:, :half] - backward[:, :half]).abs().max() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_batch_of_one_equals_batch_of_many(form: StfNetForm) -> None:
    net, grid, seconds = build(form), tokens(3), slot_times(3)
    with torch.no_grad():
        together = net(grid, seconds)
        alone = torch.cat([net(grid[i : i + 1], seconds[i : i + 1]) for i in range(3)])
    assert together.shape == (3, net.out_width)
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_gated_attention_is_the_weighted_mean_of_the_paper() -> None:
    """Ilse 2018, equations 7 and 9, one token at a time."""
    pool = GatedAttentionPool(width=3, hidden=5)
    initialise(pool, generator(4))
    bag = torch.randn(1, 6, 3, generator=generator(5))
    with torch.no_grad():
        scores = [
            float(pool.score(torch.tanh(pool.value(token)) * torch.sigmoid(pool.gate(token))))
            for token in bag[0]
        ]
        weights = torch.tensor(scores).exp() / torch.tensor(scores).exp().sum()
        expected = sum(weight * token for weight, token in zip(weights, bag[0], strict=True))
        torch.testing.assert_close(pool(bag)[0], expected)


def test_mean_pool_is_the_mean_and_reads_no_time() -> None:
    grid = tokens(2)
    pooled = build(StfNetForm.MEAN_POOL)(grid, slot_times(2))
    torch.testing.assert_close(pooled, grid.reshape(2, -1, WIDTH).mean(dim=1))


def test_published_merge_is_the_published_whole_grid_convolution() -> None:
    """A convolution whose kernel is the grid, without padding, gives one vector a slot."""
    net = build(StfNetForm.PUBLISHED)
    assert isinstance(net, PublishedStfNet)
    _, rows, cols = GRID
    convolution = nn.Conv2d(WIDTH, WIDTH, (rows, cols))
    grid = gridded(tokens(1))
    with torch.no_grad():
        weight = net.slot_merge.weight.reshape(WIDTH, rows, cols, WIDTH).permute(0, 3, 1, 2)
        convolution.weight.copy_(weight)
        convolution.bias.zero_()  # type: ignore[union-attr]
        expected = convolution(grid[0].permute(0, 3, 1, 2))[:, :, 0, 0]
        torch.testing.assert_close(net.slot_merge(grid.flatten(2))[0], expected)


def test_log_deviation_over_time_by_hand() -> None:
    """Slots 1, 3, 1, 3 have mean 2 and deviation 1, whose logarithm is 0, in whatever order.

    Twice as far apart, it is the logarithm of 2.
    """
    slots = torch.tensor([1.0, 3.0, 1.0, 3.0]).reshape(1, 4, 1)
    expected = torch.zeros(1, 1)
    torch.testing.assert_close(log_deviation_over_time(slots), expected, atol=STILLNESS, rtol=0)
    torch.testing.assert_close(
        log_deviation_over_time(slots[:, [0, 2, 1, 3]]), log_deviation_over_time(slots)
    )
    twice = torch.tensor([[math.log(2.0)]])
    torch.testing.assert_close(log_deviation_over_time(2 * slots), twice, atol=STILLNESS, rtol=0)


def test_the_log_deviation_of_bfloat16_features_is_rounded_once() -> None:
    """Values of deviation 0.05 about means of deviation 3, which bfloat16 holds to a hundredth.

    A mean or a square in bfloat16 is off by more than a tenth of how patients differ; the result
    itself, about -3, is rounded by at most 2 ** -7.
    """
    draw = torch.Generator().manual_seed(0)
    moving = 0.05 * torch.randn(4, 8, 64, generator=draw)
    slots = (3 * torch.randn(4, 1, 64, generator=draw) + moving).bfloat16()
    expected = slots.double().var(dim=1, unbiased=False).add(STILLNESS).log() / 2
    found = log_deviation_over_time(slots)
    assert found.dtype is torch.bfloat16
    assert (found.double() - expected).abs().max() <= 2**-7


def test_a_still_feature_deviates_least_and_has_a_finite_slope() -> None:
    still = torch.full((1, 4, 2), 7.0, requires_grad=True)
    deviation = log_deviation_over_time(still)
    torch.testing.assert_close(deviation, torch.full((1, 2), math.log(STILLNESS) / 2))
    deviation.sum().backward()
    assert still.grad is not None
    assert bool(still.grad.isfinite().all())


def test_the_disjoint_pathway_hands_on_what_moves() -> None:
    """Its last width / 2 numbers are the log deviation: the floor where every slot is the same."""
    net = build(StfNetForm.COMPACT).disjoint
    moving = tokens(1)
    still = moving[:, :1].expand_as(moving)
    with torch.no_grad():
        rest, motion = (net(grid, slot_times(1))[0, -WIDTH // 2 :] for grid in (still, moving))
    torch.testing.assert_close(rest, torch.full_like(rest, math.log(STILLNESS) / 2))
    assert bool((motion > rest + math.log(1.5)).all())


def test_without_preference_the_joint_pathway_gives_the_mean_deviation_of_all_positions() -> None:
    """Zero scores give each of the 30 positions the same weight, in each of the four weightings."""
    net = build(StfNetForm.COMPACT).joint
    grid = net.body(tokens(1)).detach()
    with torch.no_grad():
        net.swing_pool.score.weight.zero_()
        net.swing_pool.score.bias.zero_()
        pooled = net(tokens(1))[0, : 2 * POOL_HEADS * WIDTH // 2]
        even = pooled[pooled.numel() // 2 :].reshape(-1, WIDTH // 2)
        means = log_deviation_over_time(grid).mean(dim=1)
    torch.testing.assert_close(even, means.expand_as(even))


def test_the_joint_pathway_hands_on_every_place_by_itself_whatever_order_they_come_in() -> None:
    """The first two of a position's numbers are made its first mean and its first deviation. Two of
    three tokens are valid: those at positions 7 and 11; all other positions are zero."""
    net = build(StfNetForm.COMPACT).joint
    with torch.no_grad():
        net.narrow.weight.zero_()
        net.narrow.weight[0, 0] = net.narrow.weight[1, WIDTH // 2] = 1
    mean, deviation = torch.zeros(1, 3, WIDTH // 2), torch.zeros(1, 3, WIDTH // 2)
    mean[0, :, 0], deviation[0, :, 0] = (
        torch.tensor([5.0, 3.0, 9.0]),
        torch.tensor([-5.0, -3.0, -9.0]),
    )
    valid = torch.tensor([[True, True, False]])
    region = Subset(torch.tensor([[7, 11, 0]]), valid)
    expected = torch.zeros(GRID[1] * GRID[2], POSITION_WIDTH)
    expected[7, :2], expected[11, :2] = torch.tensor([5.0, -5.0]), torch.tensor([3.0, -3.0])
    torch.testing.assert_close(net.by_position(mean, deviation, region)[0], expected.flatten())

    order = torch.tensor([1, 0, 2])
    turned = Subset(region.items[:, order], valid)
    again = net.by_position(mean[:, order], deviation[:, order], turned)
    torch.testing.assert_close(again[0], expected.flatten())
    with torch.no_grad():
        body = net.body(tokens(1))
        whole = net.by_position(body.mean(dim=1), log_deviation_over_time(body), None)
        torch.testing.assert_close(net(tokens(1))[:, -whole.shape[1] :], whole)


def test_stages_are_mixed_at_one_scale_however_large_they_are() -> None:
    """Tokens (3, -3) and (0.5, -0.5) both normalise to (1, -1), and (-2, 2) to (-1, 1).

    The sum of the three is (1, -1), over the root of 3. Twice the second norm's weight adds another
    (1, -1) to the sum.
    """
    mix = LevelMix(width=2, levels=3)
    levels = [torch.tensor([[token]]) for token in ([3.0, -3.0], [0.5, -0.5], [-2.0, 2.0])]
    expected = torch.tensor([[[1.0, -1.0]]]) / math.sqrt(3)
    torch.testing.assert_close(mix(levels), expected, atol=1e-5, rtol=0)
    with torch.no_grad():
        mix.norms[1].weight.mul_(2)
    torch.testing.assert_close(mix(levels), 2 * expected, atol=1e-5, rtol=0)
