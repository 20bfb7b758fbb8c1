"""What is said of a plan before anything is read, from counts done by hand."""

import math

import pytest
import torch

from echofm_core.models.masking import positions_seen, tube_mask
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.preflight import masking_notes, preflight_notes, warm_up_notes
from echofm_core.runtime.errors import PlanError


def plan_of(
    size: int, patch: int, ratio: float = 0.85, *, whole: bool = False, rounds: int = 1
) -> Plan:
    return plan_from_mapping(
        {
            "data": {"size": size},
            "model": {"patch": patch, "sector_only": not whole},
            "pretrain": {"rounds": rounds, "mask_ratio": ratio},
        },
        "of a test",
    )


def test_too_few_positions_are_warned_of_with_what_to_change() -> None:
    """4 x 4 is 16, three quarters 12, of which floor(10.2) are hidden; 8 x 8: 48 less 40."""
    assert masking_notes(plan_of(64, 16)) == [
        "pretrain.mask_ratio = 0.85 leaves the encoder about 2 of 4 x 4 positions (data.size 64, "
        "model.patch 16), fewer than 8, from which little of the others can be predicted; set "
        "model.patch = 8 (8 x 8 positions, about 8 seen), or a lower mask_ratio."
    ]


@pytest.mark.parametrize(
    ("plan", "seen"),
    [
        (plan_of(64, 8), None),  # what the warning advises: 8
        (plan_of(64, 8, 0.86), "about 7 "),  # 48 less floor(41.28)
        (plan_of(224, 16), None),  # 147 less 124: 23
        (plan_of(112, 16), "about 6 "),  # 36 less 30
        (plan_of(112, 16, whole=True), None),  # 49 less 41: 8
        (plan_of(112, 16, 0.86, whole=True), "encoder 7 "),  # 49 less 42
        (plan_of(64, 16, rounds=0), None),  # nothing is masked
    ],
)
def test_eight_are_enough(plan: Plan, seen: str | None) -> None:
    notes = masking_notes(plan)
    assert len(notes) == (seen is not None)
    assert all(seen in note for note in notes if seen)


def test_what_is_advised_helps() -> None:
    """The largest patch below 16 that divides 96 and leaves enough is 12: 8 x 8."""
    (note,) = masking_notes(plan_of(96, 16))
    assert "model.patch = 12 (8 x 8 positions, about 8 seen)" in note
    assert masking_notes(plan_of(96, 12)) == []


def test_where_no_patch_helps_larger_frames_are_advised() -> None:
    """32 in patches of 4: 48 positions, of which floor(45.6) are hidden; and weights that the plan
    starts from were trained on their own patches."""
    (note,) = masking_notes(plan_of(32, 8, 0.95))
    assert "set a larger data.size, or a lower mask_ratio" in note
    plan = plan_of(64, 16)
    started = plan.model_copy(update={"model": plan.model.model_copy(update={"start": "a" * 64})})
    (note,) = masking_notes(started)
    assert "set a larger data.size" in note


@pytest.mark.parametrize(("size", "patch"), [(64, 16), (64, 8), (112, 16), (224, 16)])
def test_real_masks_of_a_cone_are_near_the_share_that_is_taken_for_it(
    size: int, patch: int
) -> None:
    """A cone of 80 degrees from the top edge: as drawn masks leave it, one position more or less.

    Advice and masks agree on which side of eight they are.
    """
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    inside = torch.atan2((x - size / 2).abs(), y) <= math.radians(40)
    inside &= torch.hypot(x - size / 2, y) <= size
    seen = positions_seen(inside[None], patch)
    hidden = tube_mask(seen, 0.85, torch.Generator().manual_seed(0))
    visible = int((seen & ~hidden).sum())
    notes = masking_notes(plan_of(size, patch))
    assert (visible < 8) == bool(notes)
    if notes:
        estimate = int(notes[0].partition("about ")[2].split()[0])
        assert abs(visible - estimate) <= 1


@pytest.mark.parametrize(("gpus", "fine"), [(0.25, True), (1, True), (2, True), (1.5, False)])
def test_several_gpus_are_whole_ones(gpus: float, fine: bool) -> None:
    """As Ray has it: a share is of one device."""
    values = {"machine": {"ray": {"gpus": gpus}}}
    if fine:
        assert plan_from_mapping(values, "of a test").machine.ray.gpus == gpus
        return
    with pytest.raises(PlanError, match="whole number"):
        plan_from_mapping(values, "of a test")


def warmed(**tables: dict[str, object]) -> Plan:
    usual: dict[str, dict[str, object]] = {"pretrain": {"rounds": 0}, "finetune": {"rounds": 4}}
    return plan_from_mapping(usual | tables, "test")


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, None),
        ({"finetune": {"rounds": 2}}, None),
        ({"finetune": {"rounds": 1, "warmup_rounds": 0.9}}, None),
        ({"finetune": {"rounds": 0, "warmup_rounds": 9}, "pretrain": {"rounds": 2}}, None),
        ({"finetune": {"rounds": 1}}, "finetune.warmup_rounds = 1 takes all of 1 round:"),
        ({"pretrain": {"rounds": 3, "warmup_rounds": 4.5}}, "pretrain.warmup_rounds = 4.5 takes"),
        (
            {"pretrain": {"rounds": 5, "target": "latent", "teacher_rounds": 1}},
            "pretrain.warmup_rounds = 1 takes all of 1 round of the teacher:",
        ),
        (
            {"pretrain": {"rounds": 3, "target": "latent", "teacher_rounds": 2}},
            "pretrain.warmup_rounds = 1 takes all of 1 round of the student:",
        ),
        (
            {"evaluation": {"few_shot": [5], "few_shot_rounds": 1}},
            "finetune.warmup_rounds = 1 takes all of 1 round of evaluation.few_shot:",
        ),
        ({"evaluation": {"few_shot": [5]}}, None),  # the rounds of fine-tuning
        ({"evaluation": {"few_shot_rounds": 1}}, None),  # nobody is fine-tuned
    ],
)
def test_a_rate_that_never_falls_is_warned_of(
    tables: dict[str, dict[str, object]], expected: str | None
) -> None:
    """The curve is a warm-up, then a cosine; where the warm-up takes all, there is no cosine."""
    notes = warm_up_notes(warmed(**tables))
    assert len(notes) == (expected is not None)
    assert all(note.startswith(expected) for note in notes if expected)


def test_both_kinds_of_warning_are_a_plans() -> None:
    plan = plan_of(64, 16)
    assert preflight_notes(plan) == [*masking_notes(plan), *warm_up_notes(plan)]
    assert len(preflight_notes(plan)) == 2
