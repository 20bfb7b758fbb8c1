"""The student is judged by what its teacher finds at hidden positions, and the teacher stays."""

import numpy as np
import pytest
import torch
from torch import Tensor

from echofm_core.models.build import build_autoencoder, build_latent_predictor
from echofm_core.models.latent_predictor import LatentPredictor
from echofm_core.models.masking import Subset
from echofm_core.models.weights import to_arrays
from tests.models.small import GRID, everywhere, generator, sectors, small_plan, videos

CPU = torch.device("cpu")
TOKENS, WIDTH = 64, 128


def unlike_teacher(**pretrain: object) -> LatentPredictor:
    """A model whose teacher is another draw than its student."""
    model = build_latent_predictor(small_plan(**pretrain))
    other = build_autoencoder(small_plan(seed=9))
    model.teacher.load_state_dict(other.encoder.state_dict())
    return model


@pytest.mark.parametrize("sector", [everywhere(3), sectors(3)])
def test_the_loss_is_what_numpy_computes(sector: Tensor) -> None:
    """Mean over wanted tokens of the mean of |prediction - (z - mean) / sqrt(variance + 1e-5)|.

    z are the teacher's features of the token among all tokens of the sample's own sector, each
    sample alone; variance divides by D. Teacher and prediction come from their own modules, the
    rest from NumPy in double precision.
    """
    model, video = unlike_teacher(), videos(3)
    masks = model.draw(sector, generator(5))
    with torch.no_grad():
        loss = model(video, sector, generator(5))
    for sample in range(3):
        one = slice(sample, sample + 1)
        visible, wanted, _ = masks.rows(one).tokens(CPU)
        with torch.no_grad():
            predicted = model.decoder(model.encoder(video[one], visible), visible, wanted)[0]
            touched = model.encoder.seen(sector[one]).repeat(1, GRID[0])
            whole = Subset.of(touched)
            features = model.teacher(video[one], whole)[0].double().numpy()
        place = {token: row for row, token in enumerate(whole.items[0].tolist())}
        errors = []
        for row, token in enumerate(wanted.items[0].tolist()):
            z = features[place[token]]
            target = (z - z.mean()) / np.sqrt(((z - z.mean()) ** 2).mean() + 1e-5)
            errors.append(np.abs(predicted[row].double().numpy() - target).mean())
        assert loss[sample].item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_predictor_gives_one_feature_vector_a_token() -> None:
    model = build_latent_predictor(small_plan())
    visible, wanted, whole = model.draw(everywhere(2), generator()).tokens(CPU)
    predicted = model.decoder(model.encoder(videos(2), visible), visible, wanted)
    assert predicted.shape == (2, 24, WIDTH)  # half of 12 hidden positions in 4 slots
    assert whole.items.shape == (2, TOKENS) and whole.valid is None


def test_gradients_reach_the_student_and_not_the_teacher() -> None:
    model = unlike_teacher()
    model(videos(2), everywhere(2), generator()).sum().backward()
    for name, parameter in model.named_parameters():
        if name.startswith("teacher."):
            assert not parameter.requires_grad and parameter.grad is None, name
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("sector", [everywhere(3), sectors(3)])
def test_only_visible_patches_have_a_gradient(sector: Tensor) -> None:
    """What the teacher reads of the others is a target, and nothing flows back through it."""
    model, video = unlike_teacher(), videos(3).requires_grad_()
    visible, *_ = model.draw(sector, generator(7)).tokens(CPU)
    model(video, sector, generator(7)).sum().backward()
    assert video.grad is not None
    found = model.encoder.patches.cut(video.grad).abs().sum(dim=2) > 0
    ones = torch.ones(*visible.items.shape, 1)
    assert torch.equal(found, visible.put(ones, TOKENS)[..., 0] > 0)


def test_hidden_pixels_change_the_target() -> None:
    """The teacher sees the whole video: another hidden patch is another target elsewhere too."""
    model, video = unlike_teacher(), videos(1)
    visible, wanted, whole = model.draw(everywhere(1), generator(3)).tokens(CPU)
    patches = model.encoder.patches.cut(video)
    changed = patches.clone()
    changed[0, wanted.items[0, 0]] += 1
    before, after = (model.target(each, wanted, whole) for each in (patches, changed))
    assert (before != after).any(dim=2).all()
    assert wanted.items[0, 0] not in visible.items[0]


def test_targets_have_zero_mean_and_unit_variance() -> None:
    model = unlike_teacher()
    _, wanted, whole = model.draw(everywhere(2), generator(3)).tokens(CPU)
    target = model.target(model.encoder.patches.cut(videos(2)), wanted, whole)
    torch.testing.assert_close(target.mean(dim=2), torch.zeros(2, 24), atol=1e-5, rtol=0)
    variance = target.var(dim=2, unbiased=False)
    torch.testing.assert_close(variance, torch.ones(2, 24), atol=1e-3, rtol=0)


def test_pixels_outside_the_sector_change_nothing() -> None:
    model, video, sector = unlike_teacher(), videos(2), everywhere(2)
    sector[:, :, 16:] = False
    changed = torch.where(sector[:, None, None], video, videos(2, seed=9))
    with torch.no_grad():
        before = model(video, sector, generator(9))
        assert torch.equal(before, model(changed, sector, generator(9)))


def test_a_sample_costs_what_it_costs_alone_whatever_sectors_stand_beside_it() -> None:
    model, video = unlike_teacher().eval(), videos(3)
    masks = model.draw(sectors(3), generator(2))
    with torch.no_grad():
        together = model.loss_at(video, *masks.tokens(CPU))
        for i in range(3):
            one = slice(i, i + 1)
            alone = model.loss_at(video[one], *masks.rows(one).tokens(CPU))
            torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-5)


def test_masks_are_those_of_pixels() -> None:
    """The target changes neither what is drawn nor how much."""
    latent, pixels = build_latent_predictor(small_plan()), build_autoencoder(small_plan())
    first = latent.draw(sectors(3), generator(4))
    second = pixels.draw(sectors(3), generator(4))
    assert torch.equal(first.visible, second.visible) and torch.equal(first.wanted, second.wanted)
    assert second.whole is None and len(second.tokens(CPU)) == 2


def test_student_and_teacher_start_as_the_auto_encoder_and_same_plan_gives_same_bits() -> None:
    first = build_latent_predictor(small_plan())
    torch.rand(3)
    second, pixels = build_latent_predictor(small_plan()), build_autoencoder(small_plan())
    groups = ["encoder", "decoder", "teacher"]
    a, b, c = to_arrays(first, groups), to_arrays(second, groups), to_arrays(pixels, groups)
    assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
    for name in (name for name in c if name.startswith("encoder.")):
        teacher = name.replace("encoder", "teacher", 1)
        assert np.array_equal(a[name], c[name]) and np.array_equal(a[teacher], c[name])
