"""Compiled or computed twice, the model is the same model."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.video_vit import Blocks, transformer
from echofm_core.training.config import FinetuneConfig, TuneMode
from echofm_core.training.execution import forward as execution
from echofm_core.training.execution.forward import Compiled, recomputed, stochastic_depth
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.pretrain import pretrain_round
from tests.models.small import PATCH, SIZE, everywhere, generator, small_plan, times, videos
from tests.training.site import PLAN, context, snapshot


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {
        name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None
    }


def calls(model: nn.Module) -> list[int]:
    """Grows by one whenever an encoder block runs."""
    seen: list[int] = []
    for index, block in enumerate(model.encoder.blocks):
        block.register_forward_pre_hook(lambda *_, index=index: seen.append(index))
    return seen


def test_fine_tuning_gradients_are_the_same_to_the_bit_and_blocks_run_twice() -> None:
    """Stochastic depth too: what was dropped is dropped again."""
    model = build_echo_model(small_plan()).train()
    seen = calls(model)
    found = []
    with stochastic_depth(model.encoder.blocks, 0.5, generator()) as depth:
        assert depth is not None
        depth.use(depth.draw(3))
        for wanted in (False, True):
            with recomputed(model, wanted):
                loss = sum(out.square().sum() for out in model(videos(3), times(3), None).values())
                found.append(gradients(model, loss))
            assert len(seen) == (4 + 8 if wanted else 4)
    plain, twice = found
    assert set(plain) == set(twice)
    assert all(torch.equal(plain[name], twice[name]) for name in plain)


def test_pre_training_gradients_are_the_same_to_the_bit() -> None:
    model = build_autoencoder(small_plan()).train()
    found = []
    for wanted in (False, True):
        with recomputed(model, wanted):
            found.append(gradients(model, model(videos(2), everywhere(2), generator()).sum()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_afterwards_and_without_gradients_blocks_run_once() -> None:
    model = build_echo_model(small_plan())
    seen = calls(model)
    with recomputed(model, True), torch.no_grad():
        model(videos(1), times(1), None)
    assert len(seen) == 4
    assert not any(layer.recompute for layer in model.modules() if isinstance(layer, Blocks))


def test_rounds_with_recomputed_blocks_give_the_same_bits(clips: ClipWindows) -> None:
    metrics = []
    for wanted in (False, True):
        where = context(checkpoint_blocks=wanted)
        tuned, masked = build_echo_model(PLAN), build_autoencoder(PLAN)
        first = finetune_round(tuned, clips, PLAN.finetune, where)
        second = pretrain_round(masked, clips, PLAN.pretrain, where)
        sums = [sum(item.double().sum().item() for item in m.parameters()) for m in (tuned, masked)]
        metrics.append([first.metrics, second.metrics, sums])
    assert metrics[0] == metrics[1]


def test_without_a_compiler_it_says_so_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    execution._say.cache_clear()
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    # Its own patch: what monkeypatch puts back is not what this module had.
    with (
        inductor.patch({"force_disable_caches": True, "cpp.cxx": ("/no/such/compiler",)}),
        pytest.warns(RuntimeWarning, match="so the model runs uncompiled") as caught,
    ):
        first = Compiled(lambda x: (x * x).sum())
        first(x).backward()
        assert first(x).item() == 5
    assert x.grad is not None
    assert x.grad.tolist() == [2, 4]
    assert sum("uncompiled" in str(warning.message) for warning in caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        assert Compiled(lambda x: (x * x * x).sum())(x).item() == 9


def test_a_true_error_is_still_one() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        return x @ torch.ones(7)

    execution._say.cache_clear()
    with pytest.warns(RuntimeWarning), pytest.raises(RuntimeError, match="size"):
        Compiled(broken)(torch.ones(3))


def narrow(columns: int) -> torch.Tensor:
    """Three sectors: a strip of so many columns of patches, its upper half, one patch."""
    sector = torch.zeros_like(everywhere(3))
    for sample, rows in enumerate((SIZE, SIZE // 2, PATCH)):
        sector[sample, :rows, : PATCH * (columns if sample < 2 else 1)] = True
    return sector


def test_numbers_of_tokens_that_come_again_are_not_compiled_again() -> None:
    """Traced whole, without a break; once three lengths were seen, nothing is compiled any more."""
    torch.compiler.reset()
    counter, cpu = CompileCounter(), torch.device("cpu")
    tuned, masked = build_echo_model(small_plan()).eval(), build_autoencoder(small_plan()).eval()
    forward = torch.compile(tuned, backend=counter, fullgraph=True)
    loss_at = torch.compile(masked.loss_at, backend=counter, fullgraph=True)
    counts = []
    for columns in (2, 3, 4, 2, 3, 4):
        region = tuned.encoder.region(narrow(columns))
        places = masked.draw(narrow(columns), generator()).tokens(cpu)
        with torch.no_grad():
            found = forward(videos(3), times(3), region)
            for task, expected in tuned(videos(3), times(3), region).items():
                torch.testing.assert_close(found[task], expected)
            expected = masked.loss_at(videos(3), *places)
            torch.testing.assert_close(loss_at(videos(3), *places), expected)
        counts.append(counter.frame_count)
    assert counts[0] == 2
    assert counts[2:] == [counts[2]] * 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_rounds_learn_the_same(clips: ClipWindows) -> None:
    """All clips in one batch and two steps: the second loss has seen a compiled gradient."""
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    execution._say.cache_clear()
    before = counters["stats"]["unique_graphs"]
    metrics = []
    for wanted in (False, True):
        where = context(compile=wanted)
        change = {"batch_size": 24, "local_epochs": 2, "warmup_rounds": 0.0}
        tuned = PLAN.finetune.model_copy(update=change | {"drop_path": 0.2})
        masked = PLAN.pretrain.model_copy(update=change)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "torch.compile cannot be used")
            first = finetune_round(build_echo_model(PLAN), clips, tuned, where)
            second = pretrain_round(build_autoencoder(PLAN), clips, masked, where)
        metrics.append({**first.metrics, "mae": second.metrics["loss"]})
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-4)
    assert counters["stats"]["unique_graphs"] == before + 2


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
