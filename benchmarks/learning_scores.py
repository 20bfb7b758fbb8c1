"""Scores of the learning benchmark: models and ridge regressions on patients never trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks.learning_data import exact_ef, patients_at, windows_of
from benchmarks.learning_pieces import Patients, Ridge, Scored, Scores, encoder_of, tested
from benchmarks.learning_places import place_of
from benchmarks.learning_recipe import Recipe
from echofm_core.contract import ENCODER, group_of
from echofm_core.data.manifest import Split
from echofm_core.data.windows import ClipWindows, to_batch
from echofm_core.evaluation.floor import FOLDS, fit_ridge, grey_statistics
from echofm_core.evaluation.metrics import regression_metrics
from echofm_core.evaluation.ranking import Floats
from echofm_core.models.build import build_echo_model
from echofm_core.models.config import StfNetForm
from echofm_core.models.pooling import log_deviation_over_time, mean_over_positions
from echofm_core.models.saved import load_model, load_weights
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.models.weights import load_arrays
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import TASKS, Task
from echofm_core.training.label_share import withheld
from echofm_core.training.predict import predict

#: All hospitals of a test together.
TOGETHER = "all"
METRICS = ("r2", "mae", "pearson")
#: Windows of one forward pass.
BATCH = 32


def scores_of(piece: Scored, recipe: Recipe, folder: Path) -> list[dict[str, object]]:
    """Score a piece on its draw's test patients.

    Returns:
        Rows with ``hospital`` (each, and :data:`TOGETHER`), ``truth`` (``exact``, or what the
        ``reader`` measured), ``metric``, ``value`` and ``patients``.
    """
    place = place_of(tested(piece.draw, piece.where), recipe, folder)
    test = windows_of(patients_at([place], Split.TEST), recipe.plan)
    if isinstance(piece, Scores):
        found = load_model(place_of(piece.of, recipe, folder) / "model")
        rows = predict(found.model, test, found.plan.finetune, batch_size=BATCH, device="cpu")
        rows = rows[rows["task"] == Task.EF]
        estimates = rows.set_index("clip_id")["prediction"].reindex(test.manifest["clip_id"])
        prediction = estimates.to_numpy(np.float64)
    else:
        prediction = _by_ridge(piece, test, recipe, folder)
    return score_rows(test.manifest, exact_ef(place), prediction)


def score_rows(
    manifest: pd.DataFrame, exact: pd.Series, prediction: Floats
) -> list[dict[str, object]]:
    """Scores of (N,) estimates of EF, percent, of a manifest's clips; rows of :func:`scores_of`.

    Raises:
        RuntimeError: A clip has no exact EF, or a label or an estimate is not finite.
    """
    truths = {
        "exact": exact.reindex(manifest["clip_id"]).to_numpy(np.float64),
        "reader": manifest["ef"].to_numpy(np.float64, na_value=np.nan),
    }
    if not all(np.isfinite(values).all() for values in (*truths.values(), prediction)):
        raise RuntimeError("a test patient has no finite EF, drawn, read or estimated.")
    sites = manifest["site"].to_numpy(dtype=object)
    rows: list[dict[str, object]] = []
    for hospital in (TOGETHER, *sorted(set(sites))):
        here = np.full(len(sites), True) if hospital == TOGETHER else sites == hospital
        for name, truth in truths.items():
            once = np.ones((1, int(here.sum())))
            found = regression_metrics(truth[here], prediction[here], once)
            rows += [
                {
                    "hospital": hospital,
                    "truth": name,
                    "metric": metric,
                    "value": float(found[metric][0]),
                    "patients": int(here.sum()),
                }
                for metric in METRICS
            ]
    return rows


def _by_ridge(piece: Ridge, test: ClipWindows, recipe: Recipe, folder: Path) -> Floats:
    """EF of the test clips, percent, as the reader's labels of the training clips teach it."""
    plan = recipe.tuning(piece.draw, piece.percent, StfNetForm.COMPACT, ())
    data = patients_at([place_of(Patients(draw=piece.draw), recipe, folder)], Split.TRAIN)
    labelled = data.manifest[data.manifest["ef"].notna()]
    used = labelled[~withheld(labelled, plan.finetune, plan.seed)]
    train = windows_of(replace(data, manifest=used), plan)
    features: Callable[[ClipWindows], Floats] = grey_statistics
    if piece.start is not None:
        model = build_echo_model(plan)
        for need in encoder_of(piece.draw, piece.start):
            weights = load_weights(place_of(need, recipe, folder))  # a shared decoder is among them
            load_arrays(model, {k: v for k, v in weights.items() if group_of(k) == ENCODER})
        encoder = model.encoder.eval()
        features = lambda clips: pooled_features(encoder, clips)
    parts = np.arange(len(train)) % FOLDS  # a patient has one clip
    folds = stream(plan.seed, "", 0, "benchmark.folds").permutation(parts)
    targets = train.manifest["ef"].to_numpy(np.float64)[:, None]
    estimates = fit_ridge(features(train), targets, folds)(features(test))[:, 0]
    return np.asarray(estimates.clip(TASKS[Task.EF].low, TASKS[Task.EF].high))


@torch.inference_mode()
def pooled_features(encoder: VideoEncoder, clips: ClipWindows) -> Floats:
    """What an encoder makes of the first test window of N clips: (N, 2 stages D).

    Of each stage the mean over time and place, and the mean over place of the logarithm of the
    temporal deviation.
    """
    found = []
    for start in range(0, len(clips), BATCH):
        rows = range(start, min(start + BATCH, len(clips)))
        batch = to_batch([clips.test_windows(row)[0] for row in rows])
        region, grid = encoder.region(batch.sector), encoder.patches
        seen = None if region is None else region.in_every_slot(grid.slots, grid.positions)
        facts: list[Tensor] = []
        for level in encoder.levels(batch.video, seen):
            slots = torch.unflatten(level, 1, (grid.slots, -1))
            deviation = log_deviation_over_time(slots).unsqueeze(1)
            facts.append(mean_over_positions(slots, region).mean(dim=1))
            facts.append(mean_over_positions(deviation, region)[:, 0])
        found.append(torch.cat(facts, dim=1))
    return np.asarray(torch.cat(found).numpy().astype(np.float64))
