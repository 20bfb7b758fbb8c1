from __future__ import annotations

import pytest
import torch
from torch import nn

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_echo_model
from echofm_core.models.video_vit import transformer
from echofm_core.training.config import FinetuneConfig, TuneMode
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.steps.drop_path import stochastic_depth
from tests.training.site import PLAN, context, snapshot


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_rates_rise_linearly_and_branches_drop_as_often() -> None:
    """Three blocks at 0.4: 0, 0.2 and 0.4. Of 4000 draws, 0.8 stay to 0.025 (four deviations)."""
    with stochastic_depth(transformer(8, 3, 1), 0.4, generator()) as depth:
        assert depth is not None
        scales = depth.draw(4000)
    kept = torch.tensor([1, 1, 0.8, 0.8, 0.6, 0.6])
    for column, share in zip(scales.T, kept, strict=True):
        assert set(column.unique().tolist()) <= {0.0, (1 / share).item()}
    torch.testing.assert_close((scales > 0).float().mean(dim=0), kept, atol=0.031, rtol=0)
    torch.testing.assert_close(scales.mean(dim=0), torch.ones(6), atol=0.06, rtol=0)


def test_a_block_by_hand() -> None:
    """Sample 0 keeps both branches at twice their size, 1 the first, 2 the second, 3 none."""
    blocks = transformer(8, 1, 2).train()
    block, x = blocks[0], torch.randn(4, 5, 8, generator=generator())
    first = torch.tensor([2.0, 2.0, 0.0, 0.0]).reshape(4, 1, 1)
    second = torch.tensor([2.0, 0.0, 2.0, 0.0]).reshape(4, 1, 1)
    y = x + first * block.attn(block.norm1(x))
    expected = y + second * block.mlp(block.norm2(y))
    with stochastic_depth(blocks, 0.5, generator()) as depth:
        assert depth is not None
        depth.use(torch.cat((first, second), dim=1).squeeze(2))
        found = blocks(x)
    torch.testing.assert_close(found, expected)
    assert torch.equal(found[3], x[3])


def test_afterwards_nothing_drops_any_more() -> None:
    blocks = transformer(8, 2, 1)
    names = list(blocks.state_dict())
    x = torch.randn(2, 3, 8, generator=generator())
    before = blocks(x)
    with stochastic_depth(blocks, 0.9, generator()) as depth:
        assert depth is not None
        assert list(blocks.state_dict()) == names
        depth.use(depth.draw(2))
    assert torch.equal(blocks(x), before)
    assert all(isinstance(block.drop_path1, nn.Identity) for block in blocks)
    with stochastic_depth(blocks, 0.0, generator()) as depth:
        assert depth is None


def tuned(clips: ClipWindows, **changes: object) -> dict[str, torch.Tensor]:
    config: FinetuneConfig = PLAN.finetune.model_copy(update=changes)
    model = build_echo_model(PLAN)
    finetune_round(model, clips, config, context())
    batch = to_batch([clips.test_windows(0)[0]])
    model.eval()
    with torch.no_grad():
        inputs = model.inputs(batch, torch.device("cpu"))
        alone = model(*inputs)
        assert all(torch.equal(alone[task], item) for task, item in model(*inputs).items())
    return snapshot(model)


def test_rounds_repeat_and_differ_from_those_without(clips: ClipWindows) -> None:
    first, again, without = (tuned(clips, drop_path=rate) for rate in (0.5, 0.5, 0.0))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.norm.weight"], without["encoder.norm.weight"])


@pytest.mark.parametrize("mode", [TuneMode.LINEAR, TuneMode.STF_PROBE])
def test_a_frozen_encoder_drops_nothing(clips: ClipWindows, mode: TuneMode) -> None:
    with_rate, without = (tuned(clips, mode=mode, drop_path=rate) for rate in (0.5, 0.0))
    assert all(torch.equal(with_rate[name], without[name]) for name in without)
