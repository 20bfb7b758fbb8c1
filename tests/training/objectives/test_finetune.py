import numpy as np
import pytest
import torch

from echofm_core.contract import group_of
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_echo_model
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.tasks import Task
from echofm_core.training.augment import drawn_windows
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.config import Precision, TuneMode
from echofm_core.training.objectives.finetune import SupervisedObjective, finetune_round
from echofm_core.training.objectives.targets import targets_of
from tests.training.site import PLAN, changed, context, snapshot

LABELLED = {"heads.ef", "heads.edv", "heads.reduced_ef", "heads.as_grade"}


@pytest.mark.parametrize(
    ("mode", "trunk"),
    [
        (TuneMode.LINEAR, set()),
        (TuneMode.STF_PROBE, {"stf_net"}),
        (TuneMode.FULL, {"encoder", "stf_net"}),
    ],
)
def test_only_what_the_mode_names_and_has_labels_changes(
    clips: ClipWindows, mode: TuneMode, trunk: set[str]
) -> None:
    """No clip has a view label, so that head stays bitwise, decay notwithstanding."""
    model = build_echo_model(PLAN)
    before = snapshot(model)
    config = PLAN.finetune.model_copy(update={"mode": mode})
    report = finetune_round(model, clips, config, context(proximal_mu=0.1))
    moved = changed(before, model)
    assert {group_of(name) for name in moved} == trunk | LABELLED
    assert moved == {name for name in before if group_of(name) in trunk | LABELLED}
    assert set(report.counts) == trunk | LABELLED
    assert all(item.requires_grad for item in model.parameters())


def test_counts_are_clips_with_that_label(clips: ClipWindows) -> None:
    """8 patients x 2 clips have an EF, 2 x 2 a grade; the 4 clips with nothing are left out."""
    report = finetune_round(build_echo_model(PLAN), clips, PLAN.finetune, context())
    assert report.counts == {
        "encoder": 20,
        "stf_net": 20,
        "heads.ef": 16,
        "heads.edv": 16,
        "heads.reduced_ef": 16,
        "heads.as_grade": 4,
    }
    assert report.metrics["steps"] == 3
    parts = [report.metrics[f"loss/{group.removeprefix('heads.')}"] for group in LABELLED]
    assert report.metrics["loss"] == pytest.approx(sum(parts))


def test_bits_repeat(clips: ClipWindows) -> None:
    def run() -> dict[str, torch.Tensor]:
        model = build_echo_model(PLAN)
        finetune_round(model, clips, PLAN.finetune, context())
        return snapshot(model)

    first = run()
    torch.rand(3)
    second = run()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_site_without_labels_says_so(clips: ClipWindows) -> None:
    config = PLAN.finetune.model_copy(update={"tasks": (Task.VIEW,)})
    plan = PLAN.model_copy(update={"finetune": config})
    with pytest.raises(EmptySiteError, match="no clip to train on in phase finetune"):
        finetune_round(build_echo_model(plan), clips, config, context())


def test_an_ef_is_learnt(clips: ClipWindows) -> None:
    """Better than any constant, so motion is read.

    EF is 20, 25 ... 55 %. The best constant, 37.5, errs by 2.5, 7.5, 12.5 and 17.5, which over
    12 is 0.208, 0.625, 1.042 and 1.458; their smooth L1 is 0.022, 0.195, 0.542, 0.958: mean 0.43.
    """
    config = PLAN.finetune.model_copy(update={"tasks": (Task.EF,), "local_epochs": 25})
    model = build_echo_model(PLAN.model_copy(update={"finetune": config}))
    losses = [
        finetune_round(model, clips, config, context(round=r)).metrics["loss"] for r in (1, 2, 3)
    ]
    assert losses[2] < 0.5 * 0.43


def test_only_what_the_sector_touches_is_encoded(clips: ClipWindows) -> None:
    """A third of the clips touch 14 places of 16, in two slots; trained on these alone."""
    seen = build_echo_model(PLAN).encoder.seen(to_batch(clips.test_windows(2)).sector)
    assert int(seen[0].sum()) == 14
    model, lengths = build_echo_model(PLAN), set()
    model.encoder.patch_embed.register_forward_pre_hook(
        lambda _, inputs: lengths.add(inputs[0].shape[1])
    )
    narrow = [row for row in range(len(clips)) if row % 3 == 2]
    site = ClipWindows(clips.store, clips.manifest.iloc[narrow], PLAN.data)
    plain = PLAN.finetune.model_copy(update={"augment": False})
    finetune_round(model, site, plain, context())
    assert lengths == {2 * 14}


def test_a_volume_is_learnt_at_the_size_at_which_it_is_drawn_and_an_ef_as_it_is(
    clips: ClipWindows,
) -> None:
    """A model whose heads say 0 has the loss |target| - 1/2, or target^2 / 2 below 1, of each clip.
    The EDV's target is what the drawn window shows, over the deviation that the plan names."""
    scaling = {Task.EF: (55.0, 12.0), Task.EDV: (4.0, 0.5)}
    targets = targets_of(clips.manifest, (Task.EF, Task.EDV), 50.0, scaling)
    model = build_echo_model(PLAN)
    for head in model.heads.values():
        torch.nn.init.zeros_(head.linear.weight)
    config = AugmentationConfig(scale=0.3, depth=0.2)
    objective = SupervisedObjective(
        model=model,
        clips=clips,
        device=torch.device("cpu"),
        precision=Precision.FP32,
        targets={task: torch.from_numpy(values) for task, values in targets.items()},
        augmentation=config,
        scaling=scaling,
    )
    rows = np.arange(0, 12)
    (losses,) = objective(rows, np.random.default_rng(5))
    shown = drawn_windows(clips, rows, config, np.random.default_rng(5)).volumes
    assert np.abs(shown).min() > 0
    expected = np.stack([targets[Task.EF][rows], targets[Task.EDV][rows] + shown / 0.5], axis=1)
    size = np.abs(expected)
    smooth = np.where(size < 1, size**2 / 2, size - 0.5)
    np.testing.assert_allclose(losses.values.detach().numpy(), smooth, rtol=1e-4, atol=1e-6)
