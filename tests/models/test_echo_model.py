"""The whole predictor in every form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.config import StfNetForm
from echofm_core.models.echo_model import (
    DEVIATION_GAIN,
    MEAN_GAIN,
    USUAL,
    Head,
    cells_of,
    grey_cells,
    grey_width,
)
from echofm_core.models.masking import Subset
from echofm_core.models.pooling import STILLNESS
from echofm_core.tasks import Task
from tests.models.small import FRAMES, PATCH, SIZE, sectors, small_plan, times, videos


@pytest.mark.parametrize(("patch", "cells"), [(16, 4), (8, 4), (4, 4), (6, 3), (14, 2), (5, 1)])
def test_cells_divide_a_patch(patch: int, cells: int) -> None:
    assert (cells_of(patch), grey_width(patch)) == (cells, 2 * cells**2)


def test_each_cell_has_its_mean_and_the_logarithm_of_its_deviation() -> None:
    """Two rows and three columns of patches of 8 pixels, so of cells of 2; rows first."""
    video = torch.randn(2, 5, 1, 16, 24, generator=torch.Generator().manual_seed(0))
    found = grey_cells(video, 8).numpy()
    assert found.shape == (2, 6, 32)
    pixels = video[:, :, 0].numpy().astype(float)
    for place in range(6):
        top, left = 8 * (place // 3), 8 * (place % 3)
        for cell in range(16):
            y, x = top + 2 * (cell // 4), left + 2 * (cell % 4)
            grey = pixels[1, :, y : y + 2, x : x + 2].mean(axis=(1, 2))
            deviation = math.log(math.sqrt(grey.var() + STILLNESS)) + USUAL
            np.testing.assert_allclose(
                found[1, place, [cell, 16 + cell]],
                [MEAN_GAIN * grey.mean(), DEVIATION_GAIN * deviation],
                rtol=1e-4,
                atol=1e-5,
            )


def test_heads_of_the_ventricle_alone_see_grey_and_only_inside_the_region() -> None:
    """Tokens are those of any picture: what differs is grey levels, in the patch of column 3."""
    model = build_echo_model(small_plan()).eval()
    torch.nn.init.zeros_(model.encoder.patch_embed.weight)
    assert model.reading_grey == {Task.EF, Task.REDUCED_EF}
    dark, lit = torch.zeros(2, 1, FRAMES, 1, SIZE, SIZE)
    lit[..., :8, 24:] = 1
    inside = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    without = inside.clone()
    without[:, :8, 24:] = False
    with torch.no_grad():
        for sector, seen in ((inside, True), (without, False)):
            region = model.encoder.region(sector)
            one, other = (model(video, times(1), region) for video in (dark, lit))
            assert torch.equal(one[Task.AS_GRADE], other[Task.AS_GRADE])
            assert torch.equal(one[Task.EF], other[Task.EF]) is not seen
    assert not build_echo_model(small_plan(StfNetForm.PUBLISHED)).reading_grey


def test_heads_see_where_grey_is_within_a_patch_although_its_token_does_not() -> None:
    """A patch embedding of zeros gives every picture the same tokens."""
    model = build_echo_model(small_plan()).eval()
    torch.nn.init.zeros_(model.encoder.patch_embed.weight)
    left, right = torch.zeros(2, 1, FRAMES, 1, SIZE, SIZE)
    left[..., 8:12, 8:12], right[..., 8:12, 12:16] = 1, 1
    with torch.no_grad():
        assert torch.equal(model.tokens(left, None), model.tokens(right, None))
        one, other = (model(video, times(1), None)[Task.EF] for video in (left, right))
    assert (one - other).abs().max() > 0


def test_heads_see_how_much_of_a_picture_is_dark() -> None:
    """Grey levels are not normed: two pictures of one grey each, all tokens alike, differ."""
    model = build_echo_model(small_plan()).eval()
    torch.nn.init.zeros_(model.encoder.patch_embed.weight)
    pictures = [torch.full((1, FRAMES, 1, SIZE, SIZE), grey) for grey in (0.2, 0.7)]
    with torch.no_grad():
        head = model.heads[Task.EF.value]
        assert isinstance(head, Head)
        grey = head.linear.weight[0, head.norm.normalized_shape[0] :].view(-1, 2, 16)
        one, other = (model(picture, times(1), None)[Task.EF].item() for picture in pictures)
    assert other - one == pytest.approx(MEAN_GAIN * 0.5 * grey[:, 0].sum().item(), rel=1e-3)


FORMS = list(StfNetForm)


@pytest.mark.parametrize("form", FORMS)
def test_each_task_gets_its_outputs_near_zero(form: StfNetForm) -> None:
    """Zero is the population mean in standardised units and an even chance as a logit."""
    predicted = build_echo_model(small_plan(form))(videos(3), times(3), None)
    assert {task: tuple(out.shape) for task, out in predicted.items()} == {
        Task.EF: (3, 1),
        Task.REDUCED_EF: (3, 1),
        Task.AS_GRADE: (3, 5),
    }
    assert all(0 < out.abs().max() < 0.2 for out in predicted.values())


@pytest.mark.parametrize("form", FORMS)
def test_batch_of_one_equals_batch_of_many(form: StfNetForm) -> None:
    model, video, seconds = build_echo_model(small_plan(form)).eval(), videos(3), times(3)
    with torch.no_grad():
        together = model(video, seconds, None)
        for i in range(3):
            alone = model(video[i : i + 1], seconds[i : i + 1], None)
            for task, predicted in alone.items():
                torch.testing.assert_close(predicted[0], together[task][i], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_no_model_holds_a_batch_norm(form: StfNetForm) -> None:
    layers = [*build_echo_model(small_plan(form)).modules()]
    layers += build_autoencoder(small_plan(form)).modules()
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)


@pytest.mark.parametrize("form", FORMS)
def test_every_parameter_is_trained_by_some_task(form: StfNetForm) -> None:
    """Nothing is dead weight: a random loss reaches every array."""
    model = build_echo_model(small_plan(form))
    sum(out.square().sum() for out in model(videos(2), times(2), None).values()).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_weights_predict_what_float32_weights_do(form: StfNetForm) -> None:
    model = build_echo_model(small_plan(form))
    with torch.no_grad():
        full = model(videos(2), times(2), None)[Task.EF]
        half = model.to(torch.bfloat16)(videos(2).bfloat16(), times(2), None)[Task.EF]
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), full, atol=0.01, rtol=0.1)


def test_an_empty_batch_gives_empty_predictions() -> None:
    predicted = build_echo_model(small_plan())(videos(0), times(0), None)
    assert predicted[Task.AS_GRADE].shape == (0, 5)


@pytest.mark.parametrize("form", [StfNetForm.COMPACT, StfNetForm.PUBLISHED, StfNetForm.MEAN_POOL])
def test_the_compact_form_alone_reads_the_stages_below_the_last(form: StfNetForm) -> None:
    """With the last block's output held fixed, a change below it shows in the compact form only."""
    model, video, seconds = build_echo_model(small_plan(form)).eval(), videos(1), times(1)
    with torch.no_grad():
        fixed = model.encoder.blocks[-1](torch.randn(1, 64, model.encoder.width))
        model.encoder.blocks[-1].register_forward_hook(lambda *_: fixed)
        before = model.features(video, seconds, None)
        after = model.features(video.flip(-1), seconds, None)
    assert torch.equal(before, after) is (form is not StfNetForm.COMPACT)


@pytest.mark.parametrize("form", FORMS)
def test_unlike_sectors_in_a_batch_give_what_each_gives_alone(form: StfNetForm) -> None:
    """16, 9 and 4 of 16 places; the same where all places are computed and the others masked."""
    model, video, seconds = build_echo_model(small_plan(form)).eval(), videos(3), times(3)
    sector = sectors(3)
    everything = Subset.masked(model.encoder.seen(sector))
    with torch.no_grad():
        together = model(video, seconds, model.encoder.region(sector))
        masked = model(video, seconds, everything)
        for i in range(3):
            one = slice(i, i + 1)
            alone = model(video[one], seconds[one], model.encoder.region(sector[one]))
            for task, predicted in alone.items():
                torch.testing.assert_close(predicted[0], together[task][i], atol=1e-6, rtol=1e-4)
                torch.testing.assert_close(predicted[0], masked[task][i], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sector_only", [True, False])
def test_what_lies_outside_the_sector_is_read_only_if_the_plan_says_so(
    form: StfNetForm, sector_only: bool
) -> None:
    """Patches that the sector touches are read whole; those beside it are changed here."""
    model, video, seconds = build_echo_model(small_plan(form)).eval(), videos(3), times(3)
    model.encoder.sector_only = sector_only
    sector = sectors(3)
    touched = torch.zeros_like(sector)
    for sample in range(3):
        touched[sample, PATCH * sample :, PATCH * sample :] = True
    changed = torch.where(touched[:, None, None], video, video + 1)
    region = model.encoder.region(sector)
    with torch.no_grad():
        before, after = (model.features(each, seconds, region) for each in (video, changed))
    assert torch.equal(before, after) is sector_only
    assert (region is None) is not sector_only


@pytest.mark.parametrize("form", [StfNetForm.COMPACT, StfNetForm.PUBLISHED])
def test_attention_lies_where_something_is_seen(form: StfNetForm) -> None:
    """It sums to 1; the published form also weighs the zeros outside the sector."""
    model = build_echo_model(small_plan(form)).eval()
    with torch.no_grad():
        weights = model.attention(videos(3), model.encoder.region(sectors(3)))
    assert weights is not None
    torch.testing.assert_close(weights.sum(dim=(1, 2, 3)), torch.ones(3))
    unseen = ~model.encoder.seen(sectors(3)).reshape(3, 1, 4, 4).expand_as(weights)
    assert (weights[unseen].sum() == 0).item() is (form is StfNetForm.COMPACT)
