"""Parts of the compact STF-Net that a plan leaves out are not there; all else is as it was."""

from __future__ import annotations

import pytest
import torch

from echofm_core.data.windows import Batch
from echofm_core.models.build import build_echo_model, initialise
from echofm_core.models.config import StfPart
from echofm_core.models.echo_model import EchoModel, grey_cells
from echofm_core.models.stf_compact import CompactStfNet
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import PlanError
from tests.models.small import FRAMES, PATCH, SIZE, everywhere, generator, times, videos

GRID, WIDTH, LEVELS = (4, 5, 6), 64, 3


def net(*without: StfPart) -> CompactStfNet:
    found = CompactStfNet(GRID, WIDTH, LEVELS, without)
    initialise(found, generator(1))
    return found.eval()


def model(*without: str, **table: object) -> EchoModel:
    return build_echo_model(plan(*without, **table)).eval()


def plan(*without: str, **table: object) -> Plan:
    values = {
        "data": {"size": SIZE, "frames": FRAMES},
        "model": {"patch": PATCH, "stf_without": list(without), **table},
        "finetune": {"tasks": ["ef"]},
    }
    return plan_from_mapping(values, "of a test")


@pytest.mark.parametrize(
    ("without", "width"),
    [
        # Joint: 4 weightings of 32 means and of 32 deviations, 8 channels of each of 30 places.
        # Disjoint: 4 weightings of 32, and 32 deviations.
        ((), 256 + 240 + 128 + 32),
        ((StfPart.DEVIATION,), 128 + 240 + 128),
        ((StfPart.STAGES,), 256 + 240 + 128 + 32),
        ((StfPart.DISJOINT,), 256 + 240),
        ((StfPart.JOINT,), 128 + 32),
        ((StfPart.JOINT, StfPart.DEVIATION), 128),
    ],
)
def test_what_is_left_out_is_no_part_of_the_fused_features(
    without: tuple[StfPart, ...], width: int
) -> None:
    small, tokens = net(*without), torch.randn(2, 4, 30, WIDTH, generator=generator(2))
    with torch.no_grad():
        assert small(tokens, torch.linspace(0, 1, 4).expand(2, -1)).shape == (2, width)
    assert small.out_width == width
    names = {name.partition(".")[0] for name, _ in small.named_parameters()}
    left = {"mix": StfPart.STAGES, "joint": StfPart.JOINT, "disjoint": StfPart.DISJOINT}
    assert names == {name for name, part in left.items() if part not in without}


def test_one_pathway_alone_gives_its_part_of_the_whole() -> None:
    whole, tokens = net(), torch.randn(2, 4, 30, WIDTH, generator=generator(2))
    seconds = torch.linspace(0, 1, 4).expand(2, -1)
    with torch.no_grad():
        both = whole(tokens, seconds)
        for part, rest in ((StfPart.DISJOINT, both[:, :496]), (StfPart.JOINT, both[:, 496:])):
            alone = net(part)
            alone.load_state_dict(whole.state_dict(), strict=False)
            torch.testing.assert_close(alone(tokens, seconds), rest)
    assert net(StfPart.JOINT).attention(tokens) is None
    assert net(StfPart.DISJOINT).attention(tokens) is not None


def test_without_deviation_nothing_tells_a_still_from_an_oscillation_about_it() -> None:
    """With the convolution off, slots are a set: what moves about a mean is that mean to the joint
    pathway, but for its pool, which is made even.
    """
    for without, alike in (((), False), ((StfPart.DEVIATION,), True)):
        path = net(StfPart.DISJOINT, *without).joint
        assert path is not None
        with torch.no_grad():
            path.expand.weight.zero_()
            path.pool.score.weight.zero_()
            path.norm = torch.nn.Identity()  # type: ignore[assignment]
            still = torch.randn(1, 1, 30, WIDTH, generator=generator(3)).expand(1, 4, 30, WIDTH)
            moving = still + torch.tensor([1.0, -1.0, 1.0, -1.0]).reshape(1, 4, 1, 1)
            same = torch.allclose(path(still), path(moving), atol=1e-4)
        assert same is alike


def test_without_stages_the_last_one_is_read() -> None:
    video = videos(2)
    with torch.no_grad():
        found = model("stages")
        expected = found.encoder(video).unflatten(1, (4, -1))
        torch.testing.assert_close(found.tokens(video, None), expected)
        whole = model()
        assert not torch.allclose(whole.tokens(video, None), expected)


def test_heads_see_no_grey_or_no_deviation_of_it() -> None:
    """Cells of 2 pixels, 4 x 4 of them in each of 16 patches: 256 means, and as many deviations."""
    widths = {name: head_width(model(*name)) for name in ((), ("grey",), ("deviation",))}
    assert widths[()] - widths[("grey",)] == 512
    assert model("grey").reading_grey == frozenset()
    means = model("deviation")
    assert widths[("deviation",)] == means.stf_net.out_width + 256
    assert widths[("grey",)] == model().stf_net.out_width
    both = grey_cells(videos(1), PATCH)
    alone = grey_cells(videos(1), PATCH, deviation=False)
    torch.testing.assert_close(alone, both[:, :, :16])


def head_width(found: EchoModel) -> int:
    return int(found.heads["ef"].linear.in_features)  # type: ignore[union-attr]


@pytest.mark.parametrize("part", list(StfPart))
def test_every_plan_with_a_part_left_out_predicts(part: StfPart) -> None:
    found = model(part.value)
    batch = Batch(videos(2), times(2), everywhere(2))
    with torch.no_grad():
        (values,) = found(*found.inputs(batch, torch.device("cpu"))).values()
    assert values.shape == (2, 1)
    assert bool(values.isfinite().all())


def test_plans_that_leave_nothing_or_mean_nothing_are_refused() -> None:
    with pytest.raises(PlanError, match="both pathways"):
        plan("joint", "disjoint")
    with pytest.raises(PlanError, match="parts of the compact form"):
        plan("grey", stf_net="published")
