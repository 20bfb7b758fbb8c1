"""The training tables of a plan refuse what makes no sense, in one sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.privacy.ledger import Ledger
from echofm_core.privacy.options import check_options
from echofm_core.runtime.errors import PlanError, PrivacyError
from echofm_core.tasks import STANDARDISATION, Task
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.config import (
    ClassWeights,
    ExecutionConfig,
    Precision,
    class_count,
)
from echofm_core.training.objectives.finetune import finetune_round
from echofm_core.training.objectives.pretrain import pretrain_round
from tests.training.site import PLAN, changed, private, snapshot

TABLES = """
[pretrain]
augment = true
[pretrain.augmentation]
crop = 0.3
[finetune]
layer_decay = 0.75
drop_path = 0.1
ema = 0.99
precision = "bf16"
class_weights = "balanced"
[finetune.augmentation]
depth = 0.1
flip = 0.5
[finetune.standardisation]
ef = [60, 10.5]
edv = [4.5, 0.5]
[finetune.class_counts]
reduced_ef = [780, 220]
as_grade = [5, 4, 3, 2, 1]
"""


def test_tables_are_read_and_written(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(TABLES)
    plan = load_plan(tmp_path / "plan.toml")
    named = {Task.EF: (60, 10.5), Task.EDV: (4.5, 0.5)}
    assert plan.finetune.standardisation == {**named, Task.ESV: STANDARDISATION[Task.ESV]}
    assert plan.finetune.class_counts[Task.AS_GRADE] == (5, 4, 3, 2, 1)
    assert plan.finetune.precision is Precision.BF16
    assert plan.finetune.augmentation.flip == 0.5
    assert plan.pretrain.augmentation.crop == 0.3
    (tmp_path / "again.toml").write_text(plan.to_toml())
    assert load_plan(tmp_path / "again.toml").digest() == plan.digest()


def test_nothing_is_on_by_default() -> None:
    """Pre-training sees windows as they are; fine-tuning moves them a little and never flips."""
    plan = plan_from_mapping({}, "test")
    assert not plan.pretrain.augment
    assert plan.finetune.augment
    quiet = plan.finetune.augmentation
    assert (quiet.flip, quiet.depth, quiet.speckle, quiet.crop) == (0, 0, 0, 0)
    assert not [name for name in type(quiet).model_fields if "vertical" in name]


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"accumulate": 2}, "unknown key `finetune.accumulate`, which belongs to [machine]"),
        ({"save_every": 5}, "unknown key `finetune.save_every`, which belongs to [machine]"),
        ({"compile": True}, "unknown key `finetune.compile`, which belongs to [machine]"),
        ({"layer_decay": 0.0}, "`finetune.layer_decay`"),
        ({"layer_decay": 1.1}, "`finetune.layer_decay`"),
        ({"drop_path": 1.0}, "`finetune.drop_path`"),
        ({"ema": 1.0}, "`finetune.ema`"),
        ({"precision": "fp16"}, "`finetune.precision`"),
        ({"focal_gamma": 6}, "`finetune.focal_gamma`"),
        ({"augmentation": {"gain": 1.0}}, "`finetune.augmentation.gain`"),
        ({"augmentation": {"flip_vertical": 0.5}}, "unknown key `finetune.augmentation.flip_vert"),
        ({"standardisation": {"reduced_ef": [0, 1]}}, "reduced_ef is no regression"),
        ({"standardisation": {"ef": [50, 0]}}, "greater than 0"),
        ({"standardisation": {"lvef": [50, 1]}}, "`finetune.standardisation.lvef"),
        ({"class_counts": {"as_grade": [1, 2, 3]}}, "as_grade has 5 classes, but 3 counts"),
        ({"class_counts": {"reduced_ef": [1, 0]}}, "greater than 0"),
        ({"class_counts": {"ef": [1, 2]}}, "ef has 0 classes, but 2 counts"),
    ],
)
def test_what_makes_no_sense_gets_one_sentence(table: dict[str, object], sentence: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_from_mapping({"finetune": table}, "plan.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_of_tasks() -> None:
    counts = [class_count(task) for task in (Task.EF, Task.REDUCED_EF, Task.AS_GRADE)]
    assert counts == [0, 2, 5]


REFUSED = {"accumulate": 2, "checkpoint_blocks": True, "compile": True, "save_every": 5}
BALANCED = {"class_weights": ClassWeights.BALANCED}


@pytest.mark.parametrize("option", REFUSED)
def test_a_round_is_refused(clips: ClipWindows, tmp_path: Path, option: str) -> None:
    model = build_autoencoder(PLAN)
    before = snapshot(model)
    execution = ExecutionConfig.model_validate({option: REFUSED[option]})
    where = replace(private(tmp_path), execution=execution)
    with pytest.raises(PrivacyError, match=rf"^{option} = .*out of \[machine\] or site\.toml\.$"):
        pretrain_round(model, clips, PLAN.pretrain, where)
    assert not changed(before, model)
    assert Ledger(tmp_path).entries == []


@pytest.mark.parametrize("option", REFUSED)
def test_a_plan_is_refused_before_it_begins(option: str) -> None:
    """And not the same plan without privacy."""
    machine = {"machine": {option: REFUSED[option]}}
    privacy = {"privacy": {"kind": "local", "noise_multiplier": 1.0}}
    with pytest.raises(PrivacyError, match=rf"^{option}"):
        plan_from_mapping(machine | privacy, "test")
    plan_from_mapping(machine, "test")


def test_bfloat16_is_refused(clips: ClipWindows, tmp_path: Path) -> None:
    """In a round, and in a plan with rounds of that phase."""
    config = PLAN.pretrain.model_copy(update={"precision": Precision.BF16})
    with pytest.raises(PrivacyError, match=r"^pretrain\.precision.*take it out of the plan\.$"):
        pretrain_round(build_autoencoder(PLAN), clips, config, private(tmp_path))
    assert Ledger(tmp_path).entries == []
    table = {"precision": "bf16"}
    privacy = {"privacy": {"kind": "local", "noise_multiplier": 1.0}}
    with pytest.raises(PrivacyError, match=r"^finetune\.precision"):
        plan_from_mapping({"finetune": table} | privacy, "test")
    plan_from_mapping({"finetune": table}, "test")
    plan_from_mapping({"finetune": {**table, "rounds": 0}} | privacy, "test")


def test_classes_are_balanced_by_public_counts_only(clips: ClipWindows, tmp_path: Path) -> None:
    """The site's own label counts would show; those that the plan names are no secret."""
    config = PLAN.finetune.model_copy(update=BALANCED)
    with pytest.raises(PrivacyError, match="own label counts would show"):
        finetune_round(build_echo_model(PLAN), clips, config, private(tmp_path))
    counts = {Task.REDUCED_EF: (780, 220), Task.AS_GRADE: (5, 4, 3, 2, 1)}
    some = config.model_copy(update={"class_counts": counts})
    with pytest.raises(PrivacyError):
        check_options(some, ExecutionConfig())
    assert Ledger(tmp_path).entries == []
    every = config.model_copy(update={"class_counts": counts | {Task.VIEW: (1, 1, 1, 1, 1)}})
    report = finetune_round(build_echo_model(PLAN), clips, every, private(tmp_path))
    assert report.metrics["epsilon"] > 0


def test_what_treats_patients_one_by_one_is_fine(clips: ClipWindows, tmp_path: Path) -> None:
    allowed = {
        "layer_decay": 0.7,
        "drop_path": 0.3,
        "focal_gamma": 2.0,
        "augmentation": AugmentationConfig(speckle=1.0, flip=0.5, depth=0.1),
        "ema": 0.9,
        "precision": Precision.FP32,
    }
    model = build_echo_model(PLAN)
    before = snapshot(model)
    config = PLAN.finetune.model_copy(update=allowed)
    assert finetune_round(model, clips, config, private(tmp_path)).metrics["steps"] == 2
    assert "encoder.patch_embed.weight" in changed(before, model)


def test_a_private_round_returns_averaged_weights(clips: ClipWindows, tmp_path: Path) -> None:
    """Two steps with decay 1/2: (w1 / 2 + w2) / 1.5, of the weights after AdamW's own steps."""
    model = build_autoencoder(PLAN)
    after: list[torch.Tensor] = []
    hook = register_optimizer_step_post_hook(
        lambda *_: after.append(model.encoder.norm.weight.detach().clone())
    )
    try:
        config = PLAN.pretrain.model_copy(update={"ema": 0.5})
        pretrain_round(model, clips, config, private(tmp_path))
    finally:
        hook.remove()
    first, last = after[0], after[-1]
    assert not torch.equal(first, last)
    torch.testing.assert_close(model.encoder.norm.weight.detach(), (first / 2 + last) / 1.5)
