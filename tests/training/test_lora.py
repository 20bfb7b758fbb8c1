"""A round that trains adapters on a frozen encoder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echofm_core.contract import (
    ENCODER,
    HEADS,
    LOCAL_LORA_A,
    LOCAL_LORA_B,
    LORA_A,
    LORA_B,
    STF_NET,
    group_of,
)
from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_tuned_model
from echofm_core.models.config import LoraConfig
from echofm_core.models.local_names import local_names
from echofm_core.models.weights import named_weights, to_arrays
from echofm_core.privacy.ledger import Ledger
from echofm_core.runtime.checksum import digest
from echofm_core.training.config import FinetuneConfig, TuneMode
from echofm_core.training.execution.job_folder import JobFolder, Terms
from echofm_core.training.execution.ranks import ALONE
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.personal import PersonalConfig
from echofm_core.training.steps.job import LocalContext, RoundReport
from tests.training.killed import OPTIONS, MortalWindows
from tests.training.objectives.test_finetune import LABELLED
from tests.training.site import PLAN, context, private

ALL = [ENCODER, LORA_A, LORA_B, STF_NET, HEADS]


def config(*, freeze_a: bool = False, **changes: object) -> FinetuneConfig:
    """Two passes: in the first step A has no gradient, since B is zero."""
    lora = LoraConfig(rank=4, freeze_a=freeze_a)
    update = {"mode": TuneMode.LORA, "lora": lora, "local_epochs": 2, "batch_size": 5, **changes}
    return PLAN.finetune.model_copy(update=update)


def run(
    clips: ClipWindows, config: FinetuneConfig, where: LocalContext
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], RoundReport]:
    """Weights before and after a round, and its report."""
    model = build_tuned_model(PLAN.model_copy(update={"finetune": config}))
    before = {name: item.detach().clone() for name, item in named_weights(model).items()}
    report = finetune_round(model, clips, config, where)
    after = {name: item.detach() for name, item in named_weights(model).items()}
    return before, after, report


@pytest.mark.parametrize("secret", [False, True], ids=["plain", "private"])
@pytest.mark.parametrize("freeze_a", [False, True])
def test_only_adapters_fusion_and_labelled_heads_move(
    clips: ClipWindows, tmp_path: Path, secret: bool, freeze_a: bool
) -> None:
    """By DP-SGD too; the encoder stays to the bit."""
    where = replace(private(tmp_path) if secret else context(), proximal_mu=0.1)
    before, after, report = run(clips, config(freeze_a=freeze_a), where)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    groups = {LORA_B, STF_NET, *LABELLED} | (set() if freeze_a else {LORA_A})
    assert moved == {name for name in before if group_of(name) in groups}
    assert set(report.counts) == groups
    assert report.counts[LORA_B] == 20
    assert bool(Ledger(tmp_path).entries) is secret


@pytest.mark.parametrize("secret", [False, True], ids=["plain", "private"])
def test_local_adapters_train_beside_the_federated_ones(
    clips: ClipWindows, tmp_path: Path, secret: bool
) -> None:
    """By DP-SGD too; the pull of FedProx is on what is shared alone, and holds B near zero here."""
    plan = PLAN.model_copy(update={"finetune": config()})
    plan = plan.model_copy(update={"personal": PersonalConfig(lora_rank=2)})
    where = private(tmp_path) if secret else context(proximal_mu=1e4)
    model = build_tuned_model(plan)
    before = {name: item.detach().clone() for name, item in named_weights(model).items()}
    where = replace(where, local=tuple(sorted(local_names(plan))))
    report = finetune_round(model, clips, plan.finetune, where)
    after = named_weights(model)
    moved = {group_of(name) for name in before if not torch.equal(before[name], after[name])}
    assert moved == {LORA_A, LORA_B, LOCAL_LORA_A, LOCAL_LORA_B, STF_NET, *LABELLED}
    assert set(report.counts) == moved and report.counts[LOCAL_LORA_B] == 20
    if not secret:
        length = {
            group: sum(
                float(after[name].detach().norm()) for name in after if group_of(name) == group
            )
            for group in (LORA_B, LOCAL_LORA_B)
        }
        assert length[LOCAL_LORA_B] > 2 * length[LORA_B]


def test_killed_it_goes_on_to_the_same_bits(clips: ClipWindows, tmp_path: Path) -> None:
    """With kept moments, averages, layer decay, parts of batches and stochastic depth."""

    class KilledError(Exception):
        pass

    def die() -> None:
        raise KilledError

    def once(windows: ClipWindows, state: Path, every: int) -> tuple[str, RoundReport]:
        options = config(**OPTIONS, drop_path=0.3)
        model = build_tuned_model(PLAN.model_copy(update={"finetune": options}))
        where = context(state=state, proximal_mu=0.1, accumulate=2, save_every=every)
        report = finetune_round(model, windows, options, where)
        return digest(to_arrays(model, ALL)), report

    whole = once(clips, tmp_path / "whole", 0)
    with pytest.raises(KilledError):
        once(MortalWindows(clips, 24, die), tmp_path / "cut", 3)
    rest = MortalWindows(clips, -1, die)
    assert once(rest, tmp_path / "cut", 3) == whole
    assert rest.served == 40 - 15


def test_blocks_computed_twice_give_the_same_bits(clips: ClipWindows) -> None:
    found = [
        run(clips, config(drop_path=0.2), context(checkpoint_blocks=wanted))
        for wanted in (False, True)
    ]
    assert all(torch.equal(item, found[1][1][name]) for name, item in found[0][1].items())


def test_other_adapters_make_another_round(clips: ClipWindows, tmp_path: Path) -> None:
    """A saved round is of its adapters as of all other weights, and is not taken up by others."""

    class KilledError(Exception):
        pass

    def die() -> None:
        raise KilledError

    options = config()
    plan = PLAN.model_copy(update={"finetune": options})
    where = context(state=tmp_path, save_every=1)
    with pytest.raises(KilledError):
        finetune_round(build_tuned_model(plan), MortalWindows(clips, 17, die), options, where)
    model = build_tuned_model(plan)
    with torch.no_grad():
        named_weights(model)["lora_b.blocks.0.attn.qkv.weight"].add_(1e-3)
    counting = MortalWindows(clips, -1, die)
    finetune_round(model, counting, options, where)
    assert counting.served == 40


def test_processes_that_share_a_round_get_the_adapters_and_give_them_back(
    clips: ClipWindows, tmp_path: Path
) -> None:
    plan = PLAN.model_copy(update={"finetune": config()})
    given = build_tuned_model(plan)
    with torch.no_grad():
        for item in named_weights(given).values():
            item.add_(0.01)
    folder = JobFolder(tmp_path)
    terms = Terms(world=2, device="cpu", threads=1, parent=os.getpid())
    folder.write_job(given, clips, plan, context(state=tmp_path / "state"), terms)
    taken = folder.read_job(ALONE)[0]
    assert digest(to_arrays(taken, ALL)) == digest(to_arrays(given, ALL))
    report = RoundReport(counts={LORA_B: 20}, metrics={})
    folder.write_result(taken, report)
    back = build_tuned_model(plan)
    assert folder.read_result(back) == report
    assert digest(to_arrays(back, ALL)) == digest(to_arrays(given, ALL))


def test_blocks_with_adapters_compile_into_one_graph() -> None:
    """Without a break, which is what peft's layers could bring; no C++ compiler is needed here."""
    plan = PLAN.model_copy(update={"finetune": config()})
    block = build_tuned_model(plan).encoder.blocks[0]
    torch.compiler.reset()
    fast = torch.compile(block, backend="eager", fullgraph=True)
    tokens = torch.randn(2, 6, 128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fast(tokens), block(tokens))
