"""The loss looks where it should, and its value is what plain NumPy finds."""

import numpy as np
import pytest
import torch
from torch import Tensor

from echofm_core.models import masked_autoencoder as module
from echofm_core.models.build import build_autoencoder
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.masking import Subset
from echofm_core.plan.document import Plan
from tests.models.small import GRID, PATCH, everywhere, generator, sectors, small_plan, videos

POSITIONS = GRID[1] * GRID[2]


def drawn(model: MaskedAutoencoder, sector: Tensor, seed: int) -> tuple[Subset, Subset, Subset]:
    """The visible, hidden and decoded tokens that ``loss`` draws from this seed."""
    masks = model.draw(sector, generator(seed))
    seen = model.encoder.seen(sector)
    hidden = Subset.of(seen & ~masks.visible).in_every_slot(GRID[0], POSITIONS)
    visible, wanted = masks.tokens(torch.device("cpu"))
    return visible, hidden, wanted


def test_a_drawn_mask_is_a_tube_of_the_exact_size_and_each_samples_own() -> None:
    """floor(0.75 * 16) = 12 positions hidden, the same in all four slots; the rest is seen."""
    visible, hidden, _ = drawn(build_autoencoder(small_plan()), everywhere(8), seed=1)
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


def cells_plan(cell: int) -> Plan:
    """Grey of cells is predicted."""
    plan = small_plan()
    return plan.model_copy(update={"pretrain": plan.pretrain.model_copy(update={"cell": cell})})


def test_of_cells_the_loss_is_of_their_mean_grey() -> None:
    """Mean over decoded patches of the squared error to means of 4 x 4 pixels, by slicing."""
    model, video = build_autoencoder(cells_plan(4)), videos(2)
    visible, _, wanted = drawn(model, everywhere(2), seed=5)
    with torch.no_grad():
        loss = model(video, everywhere(2), generator(5))
        predicted = model.decoder(model.encoder(video, visible), visible, wanted)
    for sample in range(2):
        errors = []
        for place, token in enumerate(wanted.items[sample].tolist()):
            frames = patch_of(video[sample].numpy(), token).reshape(2, PATCH, PATCH)
            target = [
                frame[row : row + 4, column : column + 4].mean()
                for frame in frames
                for row in (0, 4)
                for column in (0, 4)
            ]
            errors.append(((predicted[sample, place].numpy() - target) ** 2).mean())
        assert loss[sample].item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_of_cells_a_reconstruction_is_the_predicted_grey() -> None:
    """Within a hidden cell all pixels are alike; what was seen is kept."""
    model, video = build_autoencoder(cells_plan(4)), videos(1)
    filled, hidden = model.reconstruct(video, everywhere(1), generator(3))
    assert torch.equal(filled[~hidden], video[~hidden])
    grid = model.encoder.patches
    cells = grid.cut(filled)[grid.cut(hidden.float()).bool().all(dim=-1)]
    cells = cells.unflatten(-1, (2, 2, 4, 2, 4))
    assert torch.equal(cells, cells[:, :, :, :1, :, :1].expand_as(cells))
    assert cells.unique().numel() > 8


def test_the_loss_is_what_numpy_computes() -> None:
    """Mean over decoded patches of the mean squared error to (x - mean) / (sd + 1e-6 / 0.1882)."""
    model, video = build_autoencoder(small_plan()), videos(3)
    visible, _, wanted = drawn(model, everywhere(3), seed=5)
    with torch.no_grad():
        loss = model(video, everywhere(3), generator(5))
        predicted = model.decoder(model.encoder(video, visible), visible, wanted)
    for sample in range(3):
        errors = []
        for place, token in enumerate(wanted.items[sample].tolist()):
            pixels = patch_of(video[sample].double().numpy(), token)
            variance = ((pixels - pixels.mean()) ** 2).sum() / (len(pixels) - 1)
            target = (pixels - pixels.mean()) / (np.sqrt(variance) + 1e-6 / 0.1882)
            errors.append(((predicted[sample, place].numpy() - target) ** 2).mean())
        assert len(errors) == 24  # half of 12 hidden positions in 4 slots
        assert loss[sample].item() == pytest.approx(np.mean(errors), rel=1e-5)


def gradient(model: MaskedAutoencoder, video: Tensor, sector: Tensor, seed: int) -> Tensor:
    """Size of the loss's gradient in each token's pixels, (B, tokens)."""
    video = video.clone().requires_grad_()
    model(video, sector, generator(seed)).sum().backward()
    assert video.grad is not None
    return model.encoder.patches.cut(video.grad).abs().sum(dim=2)


def chosen(tokens: Subset) -> Tensor:
    """Bool (B, 64), True at the tokens."""
    ones = torch.ones(*tokens.items.shape, 1)
    return tokens.put(ones, 64)[..., 0] > 0


@pytest.mark.parametrize("sector", [everywhere(3), sectors(3)])
def test_only_decoded_patches_are_targets(monkeypatch: pytest.MonkeyPatch, sector: Tensor) -> None:
    """With the encoder cut off, what gradient is left comes through the targets."""
    model, video = build_autoencoder(small_plan()), videos(3)
    encode = model.encoder.encode
    monkeypatch.setattr(
        model.encoder, "encode", lambda patches, visible: encode(patches, visible).detach()
    )
    *_, wanted = drawn(model, sector, seed=7)
    assert torch.equal(gradient(model, video, sector, seed=7) > 0, chosen(wanted))


@pytest.mark.parametrize("sector", [everywhere(3), sectors(3)])
def test_only_visible_patches_are_input(monkeypatch: pytest.MonkeyPatch, sector: Tensor) -> None:
    """With the targets cut off, what gradient is left comes through the encoder."""
    model, video = build_autoencoder(small_plan()), videos(3)
    normalise = module.normalise
    monkeypatch.setattr(module, "normalise", lambda patches: normalise(patches).detach())
    visible, *_ = drawn(model, sector, seed=7)
    assert torch.equal(gradient(model, video, sector, seed=7) > 0, chosen(visible))


def left_half(batch: int) -> Tensor:
    sector = everywhere(batch)
    sector[:, :, 16:] = False
    return sector


@pytest.mark.parametrize("sector_only", [True, False])
def test_places_outside_the_sector_are_no_tokens_unless_the_plan_says_so(sector_only: bool) -> None:
    """Of 4 x 4 places 3 x 3 and 2 x 2 are touched: 9 and 4, of which floor(0.75 n) are hidden."""
    model = build_autoencoder(small_plan(decode_fraction=1.0))
    model.encoder.sector_only = sector_only
    masks = model.draw(sectors(3), generator())
    hidden = masks.wanted.reshape(3, GRID[0], POSITIONS)
    assert (hidden == hidden[:, :1]).all()
    assert hidden[:, 0].sum(dim=1).tolist() == ([12, 6, 3] if sector_only else [12] * 3)
    assert masks.visible.sum(dim=1).tolist() == ([4, 3, 1] if sector_only else [4] * 3)


def test_pixels_outside_the_sector_change_nothing() -> None:
    model, video, sector = build_autoencoder(small_plan()), videos(2), left_half(2)
    changed = torch.where(sector[:, None, None], video, videos(2, seed=9))
    with torch.no_grad():
        before = model(video, sector, generator(9))
        after = model(changed, sector, generator(9))
    assert torch.equal(before, after)


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_a_sample_costs_what_it_costs_alone_whatever_sectors_stand_beside_it(
    fraction: float,
) -> None:
    """Its masks are given, so that what was drawn for the batch is what it has alone."""
    model, video = build_autoencoder(small_plan(decode_fraction=fraction)).eval(), videos(3)
    masks = model.draw(sectors(3), generator(2))
    cpu = torch.device("cpu")
    with torch.no_grad():
        together = model.loss_at(video, *masks.tokens(cpu))
        for i in range(3):
            one = slice(i, i + 1)
            alone = model.loss_at(video[one], *masks.rows(one).tokens(cpu))
            torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-5)


def test_a_sample_without_sector_is_read_whole() -> None:
    model, sector = build_autoencoder(small_plan()), everywhere(2)
    sector[1] = False
    loss = model(videos(2), sector, generator())
    assert torch.equal(loss, model(videos(2), everywhere(2), generator()))


def test_a_sample_of_one_place_has_nothing_to_hide_and_costs_nothing() -> None:
    model, sector = build_autoencoder(small_plan()), everywhere(2)
    sector[1] = False
    sector[1, 5, 5] = True
    loss = model(videos(2), sector, generator())
    assert loss[0] > 0
    assert loss[1] == 0
    assert model(videos(1), sector[1:], generator()).tolist() == [0]
    loss.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_flat_patches_give_a_finite_loss() -> None:
    """A constant patch has target zero, so the loss is the mean square of the prediction."""
    model = build_autoencoder(small_plan())
    assert model(torch.full_like(videos(1), -1.0), everywhere(1), generator()).isfinite()


def test_an_empty_batch_gives_an_empty_loss() -> None:
    """Poisson sampling for private training draws one now and then."""
    assert build_autoencoder(small_plan())(videos(0), everywhere(0), generator()).shape == (0,)


def test_batch_of_one_equals_batch_of_many() -> None:
    model, video = build_autoencoder(small_plan()).eval(), videos(3)
    visible, hidden, _ = drawn(model, everywhere(3), seed=2)
    with torch.no_grad():
        together = model.decoder(model.encoder(video, visible), visible, hidden)
        for i in range(3):
            one = slice(i, i + 1)
            seen, unseen = Subset(visible.items[one]), Subset(hidden.items[one])
            alone = model.decoder(model.encoder(video[one], seen), seen, unseen)
            torch.testing.assert_close(alone, together[one], atol=1e-5, rtol=1e-5)


def test_bfloat16_stays_close_to_float32() -> None:
    model, video = build_autoencoder(small_plan()), videos(2)
    full = model(video, everywhere(2), generator(4))
    with torch.autocast("cpu", torch.bfloat16):
        half = model(video, everywhere(2), generator(4))
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, full, atol=0.05, rtol=0.05)


def test_a_reconstruction_keeps_what_was_seen_and_never_reads_what_was_hidden() -> None:
    model, video, sector = build_autoencoder(small_plan()), videos(2), left_half(2)
    picture, hidden = model.reconstruct(video, sector, generator(3))
    assert hidden.shape == picture.shape == video.shape
    assert hidden[..., :16].float().mean() == 0.75
    assert not hidden[..., 16:].any()
    kept = ~hidden | ~sector[:, None, None]
    assert torch.equal(picture[kept], video[kept])
    assert picture.isfinite().all()
    other, _ = model.reconstruct(torch.where(hidden, 99.0, video), sector, generator(3))
    inside = hidden & sector[:, None, None]
    assert torch.equal(picture[inside], other[inside])
