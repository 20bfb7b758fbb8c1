"""Our model with imported weights is Hugging Face's VideoMAE, an implementation apart from ours.

Same random weights, same mask, grey video repeated to three channels under ImageNet's statistics.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import VideoMAEForPreTraining
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from echofm_core.models.masked_autoencoder import MaskedAutoencoder, normalise
from echofm_core.models.masking import Subset
from echofm_core.models.patches import position_code
from tests.models.checkpoints.made import (
    as_ours,
    as_theirs,
    grey,
    hidden_mask,
    imported,
    pretrained,
    write,
)
from tests.models.small import everywhere, generator

BATCH, TOKENS, SEED = 3, 64, 11
CLOSE = {"atol": 1e-5, "rtol": 1e-5}

Pair = tuple[VideoMAEForPreTraining, MaskedAutoencoder]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Theirs with the norms' epsilons of the original code, which are ours; and ours."""
    folder = tmp_path_factory.mktemp("pair")
    theirs = pretrained(layer_norm_eps=1e-6)
    theirs.decoder.norm.eps = 1e-6
    return theirs, imported(write(folder / "a.pt", theirs.state_dict()), folder / "a")


def masks(ours: MaskedAutoencoder) -> tuple[Subset, Subset]:
    """What ``loss`` draws from the seed: visible and, all of them decoded, hidden tokens."""
    return ours.draw(everywhere(BATCH), generator(SEED)).tokens(torch.device("cpu"))


@torch.no_grad()
def test_the_encoder_is_theirs_with_every_token_seen(pair: Pair) -> None:
    theirs, ours = pair
    levels = grey(BATCH)
    wanted = theirs.videomae(as_theirs(levels)).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, **CLOSE)


@torch.no_grad()
def test_the_encoder_is_theirs_with_a_mask(pair: Pair) -> None:
    theirs, ours = pair
    visible, hidden = masks(ours)
    levels = grey(BATCH)
    mask = hidden_mask(hidden.items, TOKENS)
    wanted = theirs.videomae(as_theirs(levels), bool_masked_pos=mask).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels), visible), wanted, **CLOSE)


@torch.no_grad()
def test_their_configuration_of_the_hub_is_as_near(tmp_path: Path) -> None:
    """LayerNorm's epsilon is 1e-12 there and 1e-6 in the original code."""
    theirs = pretrained()
    assert theirs.config.layer_norm_eps == 1e-12
    ours = imported(write(tmp_path / "a.pt", theirs.state_dict()), tmp_path / "a")
    levels = grey(BATCH)
    wanted = theirs.videomae(as_theirs(levels)).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, **CLOSE)


@torch.no_grad()
def test_predictions_are_the_mean_of_their_channels(pair: Pair) -> None:
    """Their prediction has the channel last, after time, row and column."""
    theirs, ours = pair
    visible, hidden = masks(ours)
    levels = grey(BATCH)
    logits = theirs(as_theirs(levels), bool_masked_pos=hidden_mask(hidden.items, TOKENS)).logits
    wanted = logits.unflatten(-1, (-1, 3)).mean(dim=-1)
    found = ours.decoder(ours.encoder(as_ours(levels), visible), visible, hidden)
    torch.testing.assert_close(found, wanted, **CLOSE)


@torch.no_grad()
def test_the_loss_is_theirs_less_the_variance_of_their_channels(pair: Pair) -> None:
    """Three predictions of one target: mean((p_c - y)^2) = (mean(p) - y)^2 + var(p)."""
    theirs, ours = pair
    _, hidden = masks(ours)
    levels = grey(BATCH)
    out = theirs(as_theirs(levels), bool_masked_pos=hidden_mask(hidden.items, TOKENS))
    spread = out.logits.unflatten(-1, (-1, 3)).var(dim=-1, unbiased=False).mean()
    found = ours(as_ours(levels), everywhere(BATCH), generator(SEED)).mean()
    assert spread > 0.01
    torch.testing.assert_close(found, out.loss - spread, **CLOSE)


@torch.no_grad()
def test_the_loss_is_theirs_where_their_channels_agree(tmp_path: Path) -> None:
    """A decoder whose last layer is the same for R, G and B."""
    theirs = pretrained(layer_norm_eps=1e-6)
    theirs.decoder.norm.eps = 1e-6
    for item in (theirs.decoder.head.weight, theirs.decoder.head.bias):
        item.copy_(item[::3].repeat_interleave(3, dim=0))
    ours = imported(write(tmp_path / "a.pt", theirs.state_dict()), tmp_path / "a")
    levels, (_, hidden) = grey(BATCH), masks(ours)
    wanted = theirs(as_theirs(levels), bool_masked_pos=hidden_mask(hidden.items, TOKENS)).loss
    found = ours(as_ours(levels), everywhere(BATCH), generator(SEED)).mean()
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_targets_are_theirs(pair: Pair) -> None:
    """Theirs read off the slope of their loss: d mean((p - y)^2) / dp = 2 (p - y) / count.

    Contrast down to half a percent of the scale, where the floor under the deviation begins to
    show; there their own arithmetic, which undoes ImageNet's statistics first, leaves four digits.
    """
    theirs, ours = pair
    _, hidden = masks(ours)
    mask = hidden_mask(hidden.items, TOKENS)
    for contrast, close in ((1.0, 1e-5), (0.1, 1e-4), (0.005, 2e-3)):
        levels = 0.5 + contrast * (grey(BATCH) - 0.5)
        out = theirs(as_theirs(levels), bool_masked_pos=mask)
        (slope,) = torch.autograd.grad(out.loss, out.logits)
        wanted = (out.logits - slope * out.logits.numel() / 2).detach().unflatten(-1, (-1, 3))
        cut = hidden.take(ours.encoder.patches.cut(as_ours(levels)))
        found = normalise(cut).unsqueeze(-1).expand_as(wanted)
        torch.testing.assert_close(found, wanted, atol=close, rtol=close)


def test_the_floor_under_the_deviation_is_theirs() -> None:
    """(x - mean) / (sd + 1e-6) of grey levels in [0, 1], in double precision, at any contrast."""
    levels = grey(1).double().flatten(1)
    for contrast in (1.0, 1e-3, 1e-6):
        patch = 0.3 + contrast * levels
        mean, deviation = patch.mean(), patch.std()
        found = normalise(as_ours(patch))
        torch.testing.assert_close(found, (patch - mean) / (deviation + 1e-6))


def test_positions_are_theirs_at_the_published_size() -> None:
    """1,568 tokens of 768, against their table and against NumPy's double precision."""
    found = position_code(1568, 768)
    torch.testing.assert_close(found, get_sinusoid_encoding_table(1568, 768), atol=1e-6, rtol=0)
    angle = 1567 / 10_000 ** (2 * 5 / 768)
    np.testing.assert_allclose(found[0, -1, 10:12], [np.sin(angle), np.cos(angle)], atol=1e-6)


@torch.no_grad()
def test_a_batch_of_one_is_a_batch_of_many(pair: Pair) -> None:
    _, ours = pair
    levels = as_ours(grey(BATCH))
    alone = torch.cat([ours.encoder(levels[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(alone, ours.encoder(levels), **CLOSE)
