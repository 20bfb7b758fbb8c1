"""What is watched of an encoder: the features of one clip a patient, encoded as it is alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.models.build import build_autoencoder
from echofm_core.models.masking import Subset
from echofm_core.training.watch import feature_rank, pooled_features
from tests.training.site import DATA, PATIENTS, PLAN, snapshot

CPU = torch.device("cpu")
#: Clip 2 p is the first one of patient p; sectors are unlike, see ``site.sector_of``.
FIRST = np.arange(0, 2 * PATIENTS, 2)


def test_features_are_means_over_the_sectors_tokens_of_each_clip_alone(clips: ClipWindows) -> None:
    """Against one clip at a time, gathered by hand; in a batch, sectors are of unlike sizes."""
    encoder = build_autoencoder(PLAN).encoder
    found = pooled_features(encoder, clips, FIRST, PLAN.pretrain, CPU)
    assert found.shape == (PATIENTS, 128) and found.dtype == torch.float32
    sizes = set()
    for row, feature in zip(FIRST.tolist(), found, strict=True):
        batch = to_batch([clips.test_windows(row)[0]])
        seen = encoder.seen(batch.sector)
        sizes.add(int(seen.sum()))
        with torch.no_grad():
            tokens = encoder(batch.video, Subset.of(seen.repeat(1, DATA.frames // 2)))
        torch.testing.assert_close(feature, tokens[0].mean(dim=0), atol=1e-5, rtol=1e-4)
    assert len(sizes) > 1


def test_the_rank_is_of_the_first_clip_of_each_patient(clips: ClipWindows) -> None:
    """Of all 12 and of the first 5, by NumPy's singular values."""
    encoder = build_autoencoder(PLAN).encoder
    features = pooled_features(encoder, clips, FIRST, PLAN.pretrain, CPU).double().numpy()
    for patients in (5, PATIENTS, 100):
        values = np.linalg.svd(features[:patients], compute_uv=False)
        shares = values / values.sum()
        expected = np.exp(-(shares * np.log(shares)).sum())
        found = feature_rank(encoder, clips, PLAN.pretrain, patients=patients, device="cpu")
        assert found == pytest.approx(expected, rel=1e-5)
        assert 1 < found < min(patients, PATIENTS)


def test_it_draws_nothing_and_changes_nothing(clips: ClipWindows, tmp_path: Path) -> None:
    encoder = build_autoencoder(PLAN).encoder
    before, state = snapshot(encoder), torch.random.get_rng_state()
    first = feature_rank(encoder, clips, PLAN.pretrain, patients=8, device="cpu")
    assert first == feature_rank(encoder, clips, PLAN.pretrain, patients=8, device="cpu")
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], item) for name, item in encoder.named_parameters())
    assert all(item.requires_grad for item in encoder.parameters())


def test_an_encoder_that_tells_no_clip_from_another_has_rank_one(clips: ClipWindows) -> None:
    """With weights of zero the last norm gives its bias for every token."""
    encoder = build_autoencoder(PLAN).encoder
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        encoder.norm.bias.fill_(0.5)  # type: ignore[union-attr, operator]
    rank = feature_rank(encoder, clips, PLAN.pretrain, patients=12, device="cpu")
    assert rank == pytest.approx(1, abs=1e-5)
