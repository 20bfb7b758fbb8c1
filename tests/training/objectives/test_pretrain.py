from dataclasses import replace
from pathlib import Path

import torch

from echofm_core.data.windows import ClipWindows
from echofm_core.models.build import build_autoencoder, build_latent_predictor
from echofm_core.training.augmentation import AugmentationConfig
from echofm_core.training.config import PretrainConfig
from echofm_core.training.objectives.pretrain import pretrain_round
from tests.training.site import PLAN, changed, context, private, snapshot

#: One round for a teacher, two for a student.
LATENT = PLAN.model_copy(
    update={"pretrain": PretrainConfig(rounds=3, batch_size=8, target="latent", teacher_rounds=1)}
)


def test_one_round_trains_encoder_and_decoder(clips: ClipWindows) -> None:
    model = build_autoencoder(PLAN)
    before = snapshot(model)
    report = pretrain_round(model, clips, PLAN.pretrain, context())
    assert report.counts == {"encoder": 24, "decoder": 24}
    assert report.metrics["steps"] == 3
    assert changed(before, model) == set(before)


def test_bits_depend_on_seed_site_and_round_alone(clips: ClipWindows) -> None:
    """Earlier calls and the global generators of the process make no difference."""

    def run(**changes: object) -> dict[str, torch.Tensor]:
        model = build_autoencoder(PLAN)
        pretrain_round(model, clips, PLAN.pretrain, context(**changes))
        return snapshot(model)

    first = run()
    torch.rand(7)
    run(round=2)
    again = run()
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (run(seed=4), run(site="there"), run(round=2)):
        assert not torch.equal(first["encoder.norm.weight"], other["encoder.norm.weight"])


def test_the_loss_falls_over_rounds(clips: ClipWindows, tmp_path: Path) -> None:
    config = PLAN.pretrain.model_copy(
        update={"local_epochs": 8, "keep_optimizer": True, "learning_rate": 2e-3}
    )
    model = build_autoencoder(PLAN)
    losses = [
        pretrain_round(model, clips, config, context(round=r, state=tmp_path)).metrics["loss"]
        for r in (1, 2, 3)
    ]
    assert losses[2] < 0.95 * losses[0]


def test_a_round_done_again_with_kept_moments_gives_the_same_bits(
    clips: ClipWindows, tmp_path: Path
) -> None:
    """A site that finished round 2 and is asked for it again, as after a server's crash."""
    config = PLAN.pretrain.model_copy(update={"keep_optimizer": True})
    model = build_autoencoder(PLAN)
    pretrain_round(model, clips, config, context(state=tmp_path))
    start = model.state_dict()

    def second() -> dict[str, torch.Tensor]:
        model = build_autoencoder(PLAN)
        model.load_state_dict(start)
        pretrain_round(model, clips, config, context(state=tmp_path, round=2))
        return snapshot(model)

    first, again = second(), second()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_windows_are_changed_only_if_the_plan_says_so(clips: ClipWindows) -> None:
    """With every range at 0 the same windows come out as without; with a crop others do."""
    nothing = AugmentationConfig(**dict.fromkeys(AugmentationConfig.model_fields, 0.0))
    crop = nothing.model_copy(update={"crop": 0.5})
    losses = {}
    for name, ranges in {"none": None, "nothing": nothing, "crop": crop}.items():
        change = {"augment": ranges is not None, "augmentation": ranges or nothing}
        config = PLAN.pretrain.model_copy(update={**change, "batch_size": 24})
        model = build_autoencoder(PLAN)
        losses[name] = pretrain_round(model, clips, config, context()).metrics["loss"]
    assert losses["nothing"] == losses["none"]
    assert losses["crop"] != losses["none"]


def test_a_latent_round_trains_student_and_decoder_and_leaves_the_teacher(
    clips: ClipWindows,
) -> None:
    model = build_latent_predictor(LATENT)
    before = snapshot(model)
    report = pretrain_round(model, clips, LATENT.pretrain, context(round=2, first=2))
    assert report.counts == {"encoder": 24, "decoder": 24}
    assert report.metrics["steps"] == 3
    assert changed(before, model) == {name for name in before if not name.startswith("teacher.")}


def test_a_private_latent_round_leaves_the_teacher_and_reports_no_loss(
    clips: ClipWindows, tmp_path: Path
) -> None:
    model = build_latent_predictor(LATENT)
    before = snapshot(model)
    where = replace(private(tmp_path), round=2, first=2)
    report = pretrain_round(model, clips, LATENT.pretrain, where)
    assert "loss" not in report.metrics and report.metrics["epsilon"] > 0
    assert changed(before, model) == {name for name in before if not name.startswith("teacher.")}


def test_the_loss_on_latent_targets_falls_over_rounds(clips: ClipWindows, tmp_path: Path) -> None:
    config = LATENT.pretrain.model_copy(
        update={"local_epochs": 8, "keep_optimizer": True, "learning_rate": 2e-3}
    )
    model = build_latent_predictor(LATENT)
    losses = [
        pretrain_round(
            model, clips, config, context(round=r, first=2, rounds=4, state=tmp_path)
        ).metrics["loss"]
        for r in (2, 3, 4)
    ]
    assert losses[2] < 0.9 * losses[0]


def test_a_latent_round_in_parts_and_on_two_shares_of_memory_is_the_same(
    clips: ClipWindows,
) -> None:
    """Batches in three parts, and blocks computed twice, up to rounding."""

    def run(**machine: object) -> dict[str, torch.Tensor]:
        model = build_latent_predictor(LATENT)
        pretrain_round(model, clips, LATENT.pretrain, context(round=2, first=2, **machine))
        return snapshot(model)

    whole = run()
    for other in (run(accumulate=3), run(checkpoint_blocks=True)):
        for name, weights in whole.items():
            torch.testing.assert_close(other[name], weights, atol=2e-4, rtol=1e-3)
