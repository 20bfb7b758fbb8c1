"""The training tables of a plan refuse what makes no sense, in one sentence."""

from pathlib import Path

import pytest

from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.runtime.errors import PlanError
from echofm_core.tasks import Task
from echofm_core.training.config import Precision, class_count

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
    assert plan.finetune.standardisation == {Task.EF: (60, 10.5), Task.EDV: (4.5, 0.5)}
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
