"""The loss looks where it should, and its value is what plain NumPy finds."""

import numpy as np
import pytest
import torch
from torch import Tensor

from echofm_core.models import masked_autoencoder as module
from echofm_core.models.build import build_autoencoder
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.masking import decoded_tokens
from tests.models.small import GRID, PATCH, everywhere, generator, small_plan, videos

POSITIONS = GRID[1] * GRID[2]


def drawn(model: MaskedAutoencoder, batch: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """The visible, hidden and decoded tokens that ``loss`` draws from this seed, all in sector."""
    source = generator(seed)
    visible, hidden = model.draw_mask(batch, source, torch.device("cpu"))
    counted = torch.ones_like(hidden, dtype=torch.bool)
    fraction = model.pretrain_config.decode_fraction
    return visible, hidden, decoded_tokens(hidden, counted, fraction, source)


def test_a_drawn_mask_is_a_tube_of_the_exact_size_and_each_samples_own() -> None:
    """floor(0.75 * 16) = 12 positions hidden, the same in all four slots; the rest is seen."""
    visible, hidden, _ = drawn(build_autoencoder(small_plan()), 8, seed=1)
    mask = chosen(hidden).reshape(8, GRID[0], POSITIONS)
    assert torch.equal(chosen(visible), ~chosen(hidden))
    assert (mask == mask[:, :1]).all()
    assert mask[:, 0].sum(dim=1).tolist() == [12] * 8
    assert len(mask[:, 0].unique(dim=0)) == 8


def patch_of(video: np.ndarray, token: int) -> np.ndarray:
    """Pixels of a token, by slicing: 2 frames x 8 lines x 8 columns."""
    slot, position = divmod(token, POSITIONS)
    row, column = divmod(position, GRID[2])
    lines = slice(PATCH * row, PATCH * row + PATCH)
    columns = slice(PATCH * column, PATCH * column + PATCH)
    return video[2 * slot : 2 * slot + 2, 0, lines, columns].ravel()


def test_the_loss_is_what_numpy_computes() -> None:
    """Mean over decoded patches of the mean squared error to (x - mean) / (sd + 1e-6 / 0.1882)."""
    model, video = build_autoencoder(small_plan()), videos(3)
    visible, _, wanted = drawn(model, 3, seed=5)
    with torch.no_grad():
        loss = model.loss(video, everywhere(3), generator(5))
        predicted = model.decoder(model.encoder(video, visible), visible, wanted)
    for sample in range(3):
        errors = []
        for place, token in enumerate(wanted[sample].tolist()):
            pixels = patch_of(video[sample].double().numpy(), token)
            variance = ((pixels - pixels.mean()) ** 2).sum() / (len(pixels) - 1)
            target = (pixels - pixels.mean()) / (np.sqrt(variance) + 1e-6 / 0.1882)
            errors.append(((predicted[sample, place].numpy() - target) ** 2).mean())
        assert len(errors) == 24  # half of 12 hidden positions in 4 slots
        assert loss[sample].item() == pytest.approx(np.mean(errors), rel=1e-5)


def gradient(model: MaskedAutoencoder, video: Tensor, seed: int) -> Tensor:
    """Size of the loss's gradient in each token's pixels, (B, tokens)."""
    video = video.clone().requires_grad_()
    model.loss(video, everywhere(len(video)), generator(seed)).sum().backward()
    assert video.grad is not None
    return model.encoder.patches.cut(video.grad).abs().sum(dim=2)


def chosen(tokens: Tensor) -> Tensor:
    """Bool (B, 64), True at the tokens."""
    return torch.zeros(len(tokens), 64, dtype=torch.bool).scatter(1, tokens, True)


def test_only_decoded_patches_are_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the encoder cut off, what gradient is left comes through the targets."""
    model, video = build_autoencoder(small_plan()), videos(2)
    encode = model.encoder.encode
    monkeypatch.setattr(
        model.encoder, "encode", lambda patches, visible: encode(patches, visible).detach()
    )
    *_, wanted = drawn(model, 2, seed=7)
    assert torch.equal(gradient(model, video, seed=7) > 0, chosen(wanted))


def test_only_visible_patches_are_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the targets cut off, what gradient is left comes through the encoder."""
    model, video = build_autoencoder(small_plan()), videos(2)
    normalise = module.normalise
    monkeypatch.setattr(module, "normalise", lambda patches: normalise(patches).detach())
    visible, *_ = drawn(model, 2, seed=7)
    assert torch.equal(gradient(model, video, seed=7) > 0, chosen(visible))


def left_half(batch: int) -> Tensor:
    sector = everywhere(batch)
    sector[:, :, 16:] = False
    return sector


@pytest.mark.parametrize(("sector_loss", "same"), [(True, True), (False, False)])
def test_hidden_pixels_outside_the_sector_count_only_by_option(
    sector_loss: bool, same: bool
) -> None:
    """All hidden patches are decoded; those of the right half are changed where hidden."""
    model = build_autoencoder(small_plan(sector_loss=sector_loss, decode_fraction=1.0))
    video, sector = videos(2), left_half(2)
    _, hidden, _ = drawn(model, 2, seed=9)
    noise = model.encoder.patches.join(
        torch.randn(2, 64, 128, generator=generator(1)) * chosen(hidden).unsqueeze(2)
    )
    changed = torch.where(sector[:, None, None], video, video + noise)
    with torch.no_grad():
        before = model.loss(video, sector, generator(9))
        after = model.loss(changed, sector, generator(9))
    assert torch.equal(before, after) is same


def test_a_sample_without_sector_costs_nothing_and_stays_finite() -> None:
    model, sector = build_autoencoder(small_plan()), everywhere(2)
    sector[1] = False
    loss = model.loss(videos(2), sector, generator())
    assert loss[0] > 0
    assert loss[1] == 0
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_flat_patches_give_a_finite_loss() -> None:
    """A constant patch has target zero, so the loss is the mean square of the prediction."""
    model = build_autoencoder(small_plan())
    assert model.loss(torch.full_like(videos(1), -1.0), everywhere(1), generator()).isfinite()


def test_an_empty_batch_gives_an_empty_loss() -> None:
    """Poisson sampling for private training draws one now and then."""
    assert build_autoencoder(small_plan()).loss(videos(0), everywhere(0), generator()).shape == (0,)


def test_batch_of_one_equals_batch_of_many() -> None:
    model, video = build_autoencoder(small_plan()).eval(), videos(3)
    visible, hidden, _ = drawn(model, 3, seed=2)
    with torch.no_grad():
        together = model.decoder(model.encoder(video, visible), visible, hidden)
        for i in range(3):
            one = slice(i, i + 1)
            alone = model.decoder(
                model.encoder(video[one], visible[one]), visible[one], hidden[one]
            )
            torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-5)


def test_bfloat16_stays_close_to_float32() -> None:
    model, video = build_autoencoder(small_plan()), videos(2)
    full = model.loss(video, everywhere(2), generator(4))
    with torch.autocast("cpu", torch.bfloat16):
        half = model.loss(video, everywhere(2), generator(4))
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)


def test_a_reconstruction_keeps_what_was_seen_and_never_reads_what_was_hidden() -> None:
    model, video, sector = build_autoencoder(small_plan()), videos(2), left_half(2)
    picture, hidden = model.reconstruct(video, sector, generator(3))
    assert hidden.shape == picture.shape == video.shape
    assert hidden.float().mean() == 0.75
    kept = ~hidden | ~sector[:, None, None]
    assert torch.equal(picture[kept], video[kept])
    assert picture.isfinite().all()
    other, _ = model.reconstruct(torch.where(hidden, 99.0, video), sector, generator(3))
    inside = hidden & sector[:, None, None]
    assert torch.equal(picture[inside], other[inside])
