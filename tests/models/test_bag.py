"""A bag of images: blind to their order and to each other, and equal to the image-wise path."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from echofm_core.models.build import build_echo_model
from echofm_core.models.config import StfNetForm
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.stf_net import BagPool, encode_alone
from echofm_core.tasks import Task
from tests.models.small import FRAMES, PATCH, TUBELET, generator, small_plan, times, videos


@pytest.fixture
def model() -> EchoModel:
    """A bag model whose head is not near zero, so that predictions differ."""
    model = build_echo_model(small_plan(StfNetForm.BAG)).eval()
    for head in model.heads.values():
        torch.nn.init.normal_(head.linear.weight, generator=generator())
    return model


def predicted(model: EchoModel, video: Tensor) -> Tensor:
    with torch.no_grad():
        grades: Tensor = model(video, times(len(video)), None)[Task.AS_GRADE]
    return grades


def test_the_order_of_images_does_not_matter(model: EchoModel) -> None:
    video = videos(2)
    order = torch.randperm(FRAMES, generator=generator(1))
    shuffled = predicted(model, video[:, order])
    torch.testing.assert_close(shuffled, predicted(model, video), atol=1e-5, rtol=1e-5)


def test_every_image_counts(model: EchoModel) -> None:
    video = videos(1)
    whole = predicted(model, video)
    for place in range(FRAMES):
        changed = video.clone()
        changed[:, place] = videos(1, seed=9)[:, 0]
        assert (predicted(model, changed) - whole).abs().max() > 1e-4


def test_an_image_is_blind_to_the_others(model: EchoModel) -> None:
    """Its tokens are those of a video that holds it alone, seen by the same weights."""
    video = videos(2)
    with torch.no_grad():
        tokens = encode_alone(model.encoder, video)
        assert tokens.shape == (2, FRAMES, 16, model.encoder.width)
        for place in range(FRAMES):
            still = video[:, place : place + 1]
            alone = encode_alone(model.encoder, still)
            torch.testing.assert_close(alone[:, 0], tokens[:, place], atol=1e-5, rtol=1e-5)


def test_a_bag_of_one_image_is_the_image(model: EchoModel) -> None:
    """By hand: a still of one slot through the encoder's own parts, the mean over its places, the
    pool's norm, the head. Attention over equal images weighs nothing."""
    image = videos(1)[:, :1]
    encoder = model.encoder
    rows = image.reshape(1, 4, PATCH, 4, PATCH).permute(0, 1, 3, 2, 4).reshape(1, 16, PATCH**2)
    patches = rows.repeat(1, 1, TUBELET)  # a patch's pixels are ordered time, row, column
    with torch.no_grad():
        tokens = encoder.patch_embed(patches) + encoder.position[:, :16]
        features = encoder.norm(encoder.blocks(tokens)).mean(dim=1)
        assert isinstance(model.stf_net, BagPool)
        by_hand = model.heads["as_grade"](model.stf_net.norm(features))
    bag = image.expand(-1, FRAMES, -1, -1, -1)
    torch.testing.assert_close(predicted(model, bag), by_hand, atol=1e-5, rtol=1e-5)


def test_attention_finds_the_image_that_counts() -> None:
    """Target: the brightest image's mean. A mean pool cannot say it, a bag learns it."""
    torch.manual_seed(0)
    pool = BagPool(8)
    head = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*pool.parameters(), *head.parameters()], lr=0.01)
    tokens = torch.randn(256, 5, 1, 8, generator=generator(2))
    marked = tokens[:, :, 0, 0].argmax(dim=1)
    target = tokens[torch.arange(256), marked, 0, 1]
    seconds = torch.zeros(256, 5)
    for _ in range(400):
        optimizer.zero_grad()
        loss = (head(pool(tokens, seconds))[:, 0] - target).square().mean()
        loss.backward()
        optimizer.step()
    mean = tokens.mean(dim=(1, 2))
    best_of_means = torch.linalg.lstsq(mean, target.unsqueeze(1)).solution
    of_means = (mean @ best_of_means - target.unsqueeze(1)).square().mean()
    assert loss.item() < 0.5 * of_means.item()
