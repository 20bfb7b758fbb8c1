"""AdamW's moments from one round to the next: they continue, and never those of another model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from echofm_core.contract import Phase
from echofm_core.runtime.errors import CheckpointError
from echofm_core.training.steps.kept import KeptMoments
from echofm_core.training.steps.optimizer import build_optimizer
from tests.training.site import PLAN


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
    for round_ in (1, 2, 3, 4, 4):
        kept = KeptMoments(tmp_path, Phase.PRETRAIN, round_)
        source = kept.source()
        assert (source and source.name) == (
            f"pretrain-{round_ - 1:05d}.safetensors" if round_ > 1 else None
        )
        kept.save(layer, optimizer)
    names = sorted(path.name for path in (tmp_path / "optimizer").iterdir())
    assert names == [f"pretrain-{number:05d}.safetensors" for number in (2, 3, 4)]
    assert KeptMoments(tmp_path, Phase.FINETUNE, 3).source() is None


def test_a_server_that_lost_its_last_checkpoint_finds_what_that_round_started_from(
    tmp_path: Path,
) -> None:
    """Round 3 was under way when it died, and of rounds 1 and 2 it can read the first alone."""
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    _step(layer, optimizer)
    for round_ in (1, 2, 3):
        KeptMoments(tmp_path, Phase.PRETRAIN, round_).save(layer, optimizer)
    source = KeptMoments(tmp_path, Phase.PRETRAIN, 2).source()
    assert source and source.name == "pretrain-00001.safetensors"


def test_a_stage_does_not_start_from_the_moments_of_the_one_before(tmp_path: Path) -> None:
    """Rounds 1 and 2 trained a teacher: its student starts without, and its own are kept."""
    layer = nn.Linear(2, 1)
    optimizer = build_optimizer(layer, PLAN.pretrain, Phase.PRETRAIN)
    _step(layer, optimizer)
    for round_ in (1, 2):
        KeptMoments(tmp_path, Phase.PRETRAIN, round_).save(layer, optimizer)
    for round_, source in ((3, None), (3, None), (4, "pretrain-00003.safetensors")):
        kept = KeptMoments(tmp_path, Phase.PRETRAIN, round_, first=3)
        found = kept.source()
        assert (found and found.name) == source
        kept.save(layer, optimizer)
    names = sorted(path.name for path in (tmp_path / "optimizer").iterdir())
    assert names == ["pretrain-00003.safetensors", "pretrain-00004.safetensors"]


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
