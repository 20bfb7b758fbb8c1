from pathlib import Path

import pytest
import torch
from torch import nn

from echofm_core.contract import Phase
from echofm_core.models.build import build_autoencoder, build_echo_model, build_tuned_model
from echofm_core.models.weights import named_weights
from echofm_core.runtime.errors import CheckpointError
from echofm_core.training.config import TuneMode
from echofm_core.training.steps.moments import KeptMoments
from echofm_core.training.steps.optimizer import build_optimizer, rate_shares, set_rate, trainable
from tests.training.site import PLAN


def test_biases_norms_and_tokens_do_not_decay() -> None:
    model = build_autoencoder(PLAN)
    optimizer = build_optimizer(model, PLAN.pretrain, Phase.PRETRAIN)
    decay = {
        id(item): group["weight_decay"]
        for group in optimizer.param_groups
        for item in group["params"]
    }
    by_name = {name: decay[id(item)] for name, item in model.named_parameters()}
    assert by_name["encoder.blocks.0.attn.qkv.weight"] == 0.05
    assert by_name["encoder.blocks.0.attn.qkv.bias"] == 0
    assert by_name["encoder.norm.weight"] == 0
    assert by_name["decoder.mask_token.weight"] == 0


def test_one_step_by_hand() -> None:
    """AdamW's first step is rate * sign(gradient), after decaying by rate * decay.

    1 - 0.1 * 0.05 * 1 - 0.1 = 0.895 for the matrix, 1 - 0.1 = 0.9 for the bias.
    """
    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    set_rate(optimizer, 0.1)
    layer(torch.full((1, 1), 3.0)).sum().backward()
    optimizer.step()
    assert layer.weight.item() == pytest.approx(0.895)
    assert layer.bias.item() == pytest.approx(0.9)


def test_frozen_parameters_are_left_out() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    assert [item for group in optimizer.param_groups for item in group["params"]] == [layer.weight]
    assert list(trainable(layer)) == ["weight"]


#: The tiny encoder has four blocks; with decay 1/2, by hand.
SHARES = {
    "encoder.patch_embed.weight": 1 / 32,
    "encoder.blocks.0.norm1.bias": 1 / 16,
    "encoder.blocks.1.attn.qkv.weight": 1 / 8,
    "encoder.blocks.2.mlp.fc1.bias": 1 / 4,
    "encoder.blocks.3.mlp.fc2.weight": 1 / 2,
    "lora_a.blocks.1.attn.qkv.weight": 1 / 8,
    "lora_b.blocks.3.attn.proj.weight": 1 / 2,
    "encoder.norm.weight": 1,
    "stf_net.disjoint.time_blocks.0.attn.qkv.weight": 1,
    "heads.ef.linear.bias": 1,
}


def test_layers_learn_more_slowly_the_deeper_they_are() -> None:
    """AdamW's first step is as long as the rate, whatever the gradient: 0.01 times the share."""
    config = PLAN.finetune.model_copy(update={"layer_decay": 0.5, "weight_decay": 0.0})
    config = config.model_copy(update={"mode": TuneMode.LORA})
    model = build_tuned_model(PLAN.model_copy(update={"finetune": config}))
    optimizer = build_optimizer(model, config, Phase.FINETUNE)
    set_rate(optimizer, 0.01)
    before = {name: item.detach().clone() for name, item in named_weights(model).items()}
    for item in model.parameters():
        item.grad = torch.ones_like(item)
    optimizer.step()
    moved = {
        name: (before[name] - item).mean().item() for name, item in named_weights(model).items()
    }
    expected = {name: 0.01 * share for name, share in SHARES.items()}
    assert {name: moved[name] for name in SHARES} == pytest.approx(expected, rel=1e-3)


def test_depth_is_that_of_the_whole_encoder_even_if_a_part_is_frozen() -> None:
    names = [f"encoder.blocks.{block}.mlp.fc1.weight" for block in range(24)]
    shares = rate_shares([*names, "encoder.patch_embed.bias", "decoder.blocks.7.norm1.bias"], 0.75)
    assert shares[names[23]] == pytest.approx(0.75)
    assert shares[names[0]] == pytest.approx(0.75**24)
    assert shares["encoder.patch_embed.bias"] == pytest.approx(0.75**25)
    assert shares["decoder.blocks.7.norm1.bias"] == 1
    model = build_echo_model(PLAN)
    model.encoder.blocks[3].requires_grad_(False)
    config = PLAN.finetune.model_copy(update={"layer_decay": 0.5})
    optimizer = build_optimizer(model, config, Phase.FINETUNE)
    assert {group["rate_share"] for group in optimizer.param_groups} == {
        1 / 2**n for n in (0, 2, 3, 4, 5)
    }


def test_without_layer_decay_there_are_two_groups_at_the_full_rate() -> None:
    optimizer = build_optimizer(build_echo_model(PLAN), PLAN.finetune, Phase.FINETUNE)
    set_rate(optimizer, 0.3)
    found = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    assert found == [(0.3, 0.05), (0.3, 0.0)]


def _step(layer: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_moments_continue_where_they_were(tmp_path: Path) -> None:
    """Two steps with one optimizer equal a step, a save, a new optimizer, and a step."""
    models = [nn.Linear(2, 1) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    whole = build_optimizer(models[0], PLAN.pretrain, Phase.PRETRAIN)
    _step(models[0], whole)
    _step(models[0], whole)

    first = build_optimizer(models[1], PLAN.pretrain, Phase.PRETRAIN)
    _step(models[1], first)
    KeptMoments(tmp_path, Phase.PRETRAIN, 1).save(models[1], first)
    second = build_optimizer(models[1], PLAN.pretrain, Phase.PRETRAIN)
    KeptMoments(tmp_path, Phase.PRETRAIN, 2).restore(models[1], second)
    _step(models[1], second)
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_round_done_again_starts_from_the_round_before(tmp_path: Path) -> None:
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    _step(layer, optimizer)
    torn = tmp_path / "optimizer/.pretrain-00002.safetensors.17.part"
    torn.parent.mkdir()
    torn.write_bytes(b"of a killed process")
    for round_ in (1, 2, 3, 3):
        kept = KeptMoments(tmp_path, Phase.PRETRAIN, round_)
        source = kept.source()
        assert (source and source.name) == (
            f"pretrain-{round_ - 1:05d}.safetensors" if round_ > 1 else None
        )
        kept.save(layer, optimizer)
    names = sorted(path.name for path in (tmp_path / "optimizer").iterdir())
    assert names == ["pretrain-00002.safetensors", "pretrain-00003.safetensors"]
    assert KeptMoments(tmp_path, Phase.FINETUNE, 3).source() is None


def test_moments_of_another_model_are_refused(tmp_path: Path) -> None:
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    _step(layer, optimizer)
    KeptMoments(tmp_path, Phase.PRETRAIN, 1).save(layer, optimizer)
    other = nn.Linear(3, 1)
    with pytest.raises(CheckpointError, match="do not fit"):
        KeptMoments(tmp_path, Phase.PRETRAIN, 2).restore(
            other, build_optimizer(other, PLAN.pretrain, Phase.PRETRAIN)
        )
