"""What is watched of an encoder: the features of one clip a patient, encoded as it is alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.evaluation.ridge_probe import left_out_r2
from echofm_core.models.build import build_autoencoder
from echofm_core.models.masking import Subset
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.training.watch import Watched, slot_features, watch
from tests.training.site import DATA, PATIENTS, PLAN, snapshot

CPU = torch.device("cpu")
EFS = 20.0 + 5 * np.arange(8, dtype=np.float64)
#: Clip 2 p is the first one of patient p; sectors are unlike, see ``site.sector_of``.
FIRST = np.arange(0, 2 * PATIENTS, 2)


def watched(
    encoder: VideoEncoder, clips: ClipWindows, *, least: int = 1, **table: int
) -> dict[str, float]:
    config = PLAN.pretrain.model_copy(update=table)
    return watch(encoder, clips, config, Watched.of(clips, config, least=least), device="cpu")


def test_features_are_means_over_the_sectors_tokens_of_each_clip_alone(clips: ClipWindows) -> None:
    """Against one clip at a time, gathered by hand; in a batch, sectors are of unlike sizes."""
    encoder = build_autoencoder(PLAN).encoder
    found = slot_features(encoder, clips, FIRST, PLAN.pretrain, CPU)
    slots = DATA.frames // 2
    assert found.shape == (PATIENTS, slots, 128) and found.dtype == torch.float32
    sizes = set()
    for row, feature in zip(FIRST.tolist(), found, strict=True):
        batch = to_batch([clips.test_windows(row)[0]])
        seen = encoder.seen(batch.sector)
        sizes.add(int(seen.sum()))
        with torch.no_grad():
            tokens = encoder(batch.video, Subset.of(seen.repeat(1, slots)))
        alone = tokens[0].unflatten(0, (slots, -1)).mean(dim=1)
        torch.testing.assert_close(feature, alone, atol=1e-5, rtol=1e-4)
    assert len(sizes) > 1


def test_the_rank_is_of_the_first_clip_of_each_patient(clips: ClipWindows) -> None:
    """Of all 12 and of the first 5, by NumPy's singular values."""
    encoder = build_autoencoder(PLAN).encoder
    features = slot_features(encoder, clips, FIRST, PLAN.pretrain, CPU).mean(dim=1).double().numpy()
    for patients in (5, PATIENTS, 100):
        values = np.linalg.svd(features[:patients], compute_uv=False)
        shares = values / values.sum()
        expected = np.exp(-(shares * np.log(shares)).sum())
        found = watched(encoder, clips, watch_patients=patients, probe_patients=0)["effective_rank"]
        assert found == pytest.approx(expected, rel=1e-5)
        assert 1 < found < min(patients, PATIENTS)


def test_it_draws_nothing_and_changes_nothing(clips: ClipWindows, tmp_path: Path) -> None:
    encoder = build_autoencoder(PLAN).encoder
    before, state = snapshot(encoder), torch.random.get_rng_state()
    first = watched(encoder, clips)
    assert first == watched(encoder, clips) and set(first) == {"effective_rank", "ef_probe_r2"}
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[name], item) for name, item in encoder.named_parameters())
    assert all(item.requires_grad for item in encoder.parameters())


def test_an_encoder_that_tells_no_clip_from_another_has_rank_one(clips: ClipWindows) -> None:
    """With weights of zero the last norm gives its bias for every token."""
    encoder = build_autoencoder(PLAN).encoder
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        encoder.norm.bias.fill_(0.5)  # type: ignore[operator]
    found = watched(encoder, clips)
    assert found["effective_rank"] == pytest.approx(1, abs=1e-5)
    assert found["ef_probe_r2"] == pytest.approx(1 - (8 / 7) ** 2, abs=1e-3), "the others' mean"


def test_the_probe_reads_the_ef_of_patients_who_have_one(clips: ClipWindows) -> None:
    """Of the first clip of patients 0 to 7, from means and deviations over time, one by one."""
    encoder = build_autoencoder(PLAN).encoder
    slots = slot_features(encoder, clips, FIRST[:8], PLAN.pretrain, CPU).double().numpy()
    features = np.concatenate([slots.mean(axis=1), slots.std(axis=1)], axis=1)
    found = watched(encoder, clips)["ef_probe_r2"]
    assert found == pytest.approx(left_out_r2(features, EFS), abs=1e-4)
    alone = watched(encoder, clips, watch_patients=0)
    assert alone == {"ef_probe_r2": pytest.approx(found, abs=1e-4)}


@pytest.mark.parametrize(
    ("table", "least", "ranked", "probed"),
    [
        ({}, 1, 12, 8),
        ({"watch_patients": 2, "probe_patients": 3}, 1, 2, 3),
        ({"watch_patients": 2, "probe_patients": 3}, 6, 6, 6),
        ({"watch_patients": 2, "probe_patients": 16}, 9, 9, 0),
        ({"watch_patients": 0, "probe_patients": 0}, 6, 0, 0),
    ],
)
def test_a_number_has_as_many_patients_behind_it_as_the_policy_wants(
    clips: ClipWindows, table: dict[str, int], least: int, ranked: int, probed: int
) -> None:
    """Or there is none: 8 have an EF, and a site that wants 9 behind a number gives none."""
    config = PLAN.pretrain.model_copy(update=table)
    found = Watched.of(clips, config, least=least)
    assert found.ranked.tolist() == FIRST[:ranked].tolist()
    assert found.probed.tolist() == FIRST[:probed].tolist()
    assert found.efs.tolist() == EFS[:probed].tolist()
