"""The learning benchmark: pieces, who has labels, scores; and a small one, whole and killed.

What the arms reach is the benchmark's own to judge.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.learning import main, run
from benchmarks.learning_clock import COST, clock, cost_of
from benchmarks.learning_data import with_labels
from benchmarks.learning_order import ablated, scored
from benchmarks.learning_pieces import (
    Cohort,
    Patients,
    Piece,
    Pool,
    Pretraining,
    Ridge,
    Scores,
    Tuning,
    Where,
)
from benchmarks.learning_places import RESULT, key, place_of, with_needs
from benchmarks.learning_recipe import OBJECTIVES, Recipe, Start, load_recipe
from benchmarks.learning_results import CPU, WALL, left
from benchmarks.learning_scores import pooled_features, score_rows
from benchmarks.learning_train import arm_of
from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.prepare import ONE_SITE, Prepared
from echofm_core.data.windows import Batch, Window, to_batch
from echofm_core.models.config import ModelConfig
from echofm_core.models.video_vit import VideoEncoder
from echofm_core.phantom.hospitals import HELD_OUT, HOSPITALS, SEALED
from echofm_core.training.stages import Target
from tests.benchmarks.small_learning import small_recipe, train_small
from tests.support.forks import MODULE, Forks

RECIPE = load_recipe()


@pytest.mark.slow
def test_killed_and_gone_on_with_it_ends_on_the_same_figures(forks: Forks, tmp_path: Path) -> None:
    """SIGKILL after the first of six rounds of pre-training; what was done is not done again. The
    killed benchmark starts from a copy of the whole one without pixels, to save time."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    table = train_small(whole)
    shutil.copytree(whole, cut, ignore=of_pixels)

    words = ("tests.benchmarks.small_learning", cut)
    process = forks.start(MODULE, *words, cwd=Path(__file__).parents[2], out=Path(os.devnull))
    first_round = "draw-0/pretraining-pixels-*/journal/*-0001.json"
    while process.poll() is None and not list(cut.glob(first_round)):
        time.sleep(0.01)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in cut.glob(f"*/*/{RESULT}")}
    assert {path.parent.name.rpartition("-")[0] for path in done} >= {
        "random-34", "random-100", "floor-34-held_out", "scores-random-100-held_out",
    }  # fmt: skip
    assert not list(cut.glob(f"draw-0/pretraining-pixels-*/{RESULT}"))

    again = train_small(cut)
    scores = ~table["metric"].isin((CPU, WALL))
    pd.testing.assert_frame_equal(again[scores], table[scores])
    assert {path: path.stat().st_mtime_ns for path in done} == done
    recipe = small_recipe()
    pieces = with_needs(scored(recipe), recipe)
    arms = {piece.arm for piece in scored(recipe)}
    assert set(table[scores]["arm"]) == arms
    assert set(table[~scores]["arm"]) == {piece.name for piece in pieces}
    assert (table[~scores]["value"] > 0).all()
    assert np.isfinite(table[scores & (table["metric"] != "pearson")]["value"]).all()
    assert Counter(table[scores]["patients"]) == {6: len(arms) * 6, 3: len(arms) * 12}
    assert not list(whole.glob("*/*/raw"))
    assert not list(whole.glob("*/*/sites"))

    # Two floors are in an earlier table; then all is, and nothing is done.
    part = table[table["arm"].isin(("floor-34", "floor-100"))]
    assert len(left(scored(recipe), recipe, part)) == len(arms) - 2
    pd.testing.assert_frame_equal(run(recipe, tmp_path / "new", 1, before=table), table)
    assert not (tmp_path / "new").exists()


def of_pixels(folder: str, names: list[str]) -> list[str]:
    """What of a folder is not copied: pre-training on pixels, and what begins with it."""
    return [name for name in names if Path(folder).name == "draw-0" and "pixels" in name]


def test_what_is_scored() -> None:
    """A draw: 2 floors, random and pixels with few labels, 2 frozen. In three draws all labels from
    either start, and pooled; the ceiling; in three few labels and a frozen probe of 2 other starts;
    ablated 5 parts and a form."""
    pieces = scored(RECIPE)
    main, every, others = 8 * 6, 3 * 3, 3 * 4
    assert [piece.draw for piece in pieces[:main]] == [draw for draw in range(8) for _ in range(6)]
    assert [piece.arm for piece in pieces[6:12]] == [
        "floor-10", "floor-100", "random-10", "frozen-random", "pixels-10", "frozen-pixels",
    ]  # fmt: skip
    behind = pieces[main : main + every]
    assert [piece.draw for piece in behind] == [draw for draw in range(3) for _ in range(3)]
    assert [piece.arm for piece in behind[3:6]] == ["random-100", "pixels-100", "pooled-random-100"]
    ceiling = pieces[main + every : main + every + 8]
    assert [(piece.draw, piece.arm) for piece in ceiling] == [(d, "ceiling") for d in range(8)]
    behind = pieces[main + every + 8 : main + every + 8 + others]
    assert [piece.draw for piece in behind] == [draw for draw in range(3) for _ in range(4)]
    assert [piece.arm for piece in behind[4:8]] == [
        "cells-10", "frozen-cells", "latent-10", "frozen-latent",
    ]  # fmt: skip
    assert [piece.name for piece in ablated(RECIPE, 0)] == [
        *(f"pixels-100-without-{part}" for part in ("deviation", "stages", "joint", "disjoint")),
        "pixels-100-with-grey",
        "pixels-100-published",
    ]
    assert len(pieces) == main + every + 8 + others + 2 * 6
    opened = scored(RECIPE, sealed=True)
    assert [piece for piece in opened if piece.where is Where.HELD_OUT] == pieces
    assert [piece.arm for piece in opened[:12]] == 2 * [piece.arm for piece in pieces[:6]]
    assert len(opened) == len(pieces) + main + every + 8 + others
    assert len(scored(load_recipe(quick=True))) == 6 + 3 + 4
    assert len(scored(load_recipe(draws=1))) == 6 + 3 + 1 + 4 + 6


def test_each_piece_comes_once_and_behind_its_needs_and_whole_draws_first() -> None:
    """A draw: its patients, a pre-training, 2 fine-tunings, 6 scores; with all labels 3 of each; of
    others, 2 pre-trainings and 2 fine-tunings beside 4 scores."""
    pieces = with_needs(scored(RECIPE), RECIPE)
    main = 8 * 10
    whole = main + 3 * 6 + (6 + 1 + 8) + 3 * 8 + 2 * 6 * 2
    assert len(set(pieces)) == len(pieces) == whole
    place = {piece: number for number, piece in enumerate(pieces)}
    assert all(place[need] < place[piece] for piece in pieces for need in piece.needs(RECIPE))
    assert [piece.draw for piece in pieces[:main]] == sorted(piece.draw for piece in pieces[:main])


def test_nobody_trains_who_is_tested_and_the_sealed_hospital_is_written_for_its_scores_alone() -> (
    None
):
    found = Patients(draw=3).hospitals(RECIPE)
    named = {name: {item.name for item in hospitals} for name, (hospitals, _) in found.items()}
    assert named == {
        "train": {item.name for item in HOSPITALS} - set(HELD_OUT), "test": set(HELD_OUT),
    }  # fmt: skip
    assert {name: count for name, (_, count) in found.items()} == {"train": 200, "test": 60}
    parts = [Patients(cohort=Cohort.CEILING, part=part).hospitals(RECIPE) for part in range(6)]
    names = [item.name for part in parts for item in part["train"][0]]
    assert len(set(names)) == len(names) == 66
    assert not {*HELD_OUT, SEALED.name} & set(names)
    sealed = Patients(draw=1, cohort=Cohort.SEALED)
    assert sealed.hospitals(RECIPE) == {"test": ([SEALED], 60)}
    assert sealed not in with_needs(scored(RECIPE), RECIPE)
    needing = [
        piece
        for piece in with_needs(scored(RECIPE, sealed=True), RECIPE)
        if sealed in piece.needs(RECIPE)
    ]
    assert len(needing) == 14
    assert all(isinstance(piece, Scores | Ridge) for piece in needing)


def test_no_two_draws_share_a_seed() -> None:
    """Of weights, order, masks and patients; nor do they share a folder."""
    seeds = {RECIPE.pretraining(draw, Start.PIXELS).seed for draw in range(8)}
    assert seeds == set(range(103, 111))
    keys = {key(Patients(draw=draw), RECIPE) for draw in range(8)}
    assert len(keys) == 8


def test_another_recipe_is_another_folder_for_what_hangs_on_it_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    longer = RECIPE.plan.pretrain.model_copy(update={"rounds": RECIPE.plan.pretrain.rounds + 1})
    other = replace(RECIPE, plan=RECIPE.plan.model_copy(update={"pretrain": longer}))
    changed = {piece for piece in scored(RECIPE) if moved(piece, other, tmp_path)}
    assert {piece.arm for piece in changed if piece.draw == 7} == {"pixels-10", "frozen-pixels"}
    assert {piece.arm for piece in changed if piece.draw == 2} == {
        "pixels-10", "frozen-pixels", "pixels-100", "cells-10", "frozen-cells",
    }  # fmt: skip
    assert not moved(Patients(), other, tmp_path)
    tuning = RECIPE.plan.finetune.model_copy(update={"learning_rate": 5e-4})
    slower = replace(RECIPE, plan=RECIPE.plan.model_copy(update={"finetune": tuning}))
    assert moved(Tuning(), slower, tmp_path)
    assert not moved(Pretraining(draw=0, start=Start.LATENT), slower, tmp_path)
    fewer = replace(RECIPE, drawn=RECIPE.drawn.model_copy(update={"patients": 199}))
    assert all(moved(piece, fewer, tmp_path) for piece in scored(RECIPE) if piece.arm != "ceiling")
    assert not moved(Tuning(pool=Pool.CEILING), fewer, tmp_path)


def moved(piece: Piece, other: Recipe, folder: Path) -> bool:
    return place_of(piece, RECIPE, folder) != place_of(piece, other, folder)


def test_few_labels_take_the_same_steps_and_objectives_start_alike() -> None:
    few, every = (RECIPE.tuning(0, percent, "compact", ()) for percent in (10, 100))
    assert (few.finetune.label_fraction, every.finetune.label_fraction) == (0.1, 1.0)
    assert few.finetune.local_steps == every.finetune.local_steps > 0
    assert few.pretrain.rounds == 0
    pixels, cells, latent = (RECIPE.pretraining(2, start) for start in OBJECTIVES)
    assert [plan.pretrain.cell for plan in (pixels, cells, latent)] == [0, 4, 0]
    assert (pixels.pretrain.target, latent.pretrain.target) == (Target.PIXELS, Target.LATENT)
    assert pixels.finetune.rounds == latent.finetune.rounds == 0
    assert pixels.seed == latent.seed
    assert few.finetune.keep_optimizer
    assert pixels.pretrain.keep_optimizer


def manifest(sites: int, patients: int) -> pd.DataFrame:
    rows = [
        {
            "dataset": f"s{site}", "site": f"s{site}", "patient_id": f"p{site}-{number}",
            "clip_id": f"c{site}-{number}", "path": "/x", "split": "train", "ef": 50.0 + number,
            "edv": 100.0, "esv": 50.0,
        }
        for site in range(sites)
        for number in range(patients)
    ]  # fmt: skip
    return manifest_from_rows(rows)


def test_so_many_patients_of_each_site_keep_their_labels() -> None:
    whole = manifest(sites=2, patients=9)
    found = with_labels(whole, 3, seed=1)
    assert found[["ef", "edv", "esv"]].notna().groupby(found["site"]).sum().to_numpy().tolist() == [
        [3, 3, 3],
        [3, 3, 3],
    ]
    kept = found["ef"].notna()
    pd.testing.assert_frame_equal(found[kept], whole[kept])
    assert len(found) == 18
    others = with_labels(whole, 3, seed=2)["ef"].notna()
    assert others.tolist() != kept.tolist()
    more = with_labels(whole, 5, seed=1)["ef"].notna()
    assert more[kept].all()


def test_pooled_data_are_one_site_that_takes_as_many_steps_as_all() -> None:
    data = Prepared(manifest=manifest(3, 2), findings=Findings(), stores=Path("none"))
    plan = RECIPE.tuning(0, 100, "compact", ())
    arm, same = arm_of(Tuning(), plan, data)
    assert (arm.train, arm.plan(plan).finetune.local_steps) == (
        ("s0", "s1", "s2"), plan.finetune.local_steps,
    )  # fmt: skip
    assert same is data
    arm, one = arm_of(Tuning(pool=Pool.POOLED), plan, data)
    assert arm.train == (ONE_SITE,) == tuple(one.site_names())
    assert arm.plan(plan).finetune.local_steps == 3 * plan.finetune.local_steps
    assert arm.plan(plan).federation.min_sites == 1
    pre, _ = arm_of(Pretraining(draw=0, start=Start.PIXELS), plan, data)
    assert pre.train == ("s0", "s1", "s2")


def test_scores_by_hand() -> None:
    """At s0 40 and 60 are read as 42 and 58, exactly 41 and 61: of squares about the exact mean of
    51, 200, 10 are left; about the reader's, of 200, 8. At s1 all are as they were drawn."""
    rows = manifest(2, 2).assign(ef=pd.array([40, 60, 30, 70], dtype="Float32"))
    exact = pd.Series([70.0, 30.0, 61.0, 41.0], index=["c1-1", "c1-0", "c0-1", "c0-0"])
    found = score_rows(rows, exact, np.array([42.0, 58.0, 30.0, 70.0]))
    value = {(row["hospital"], row["truth"], row["metric"]): row["value"] for row in found}
    assert value["s0", "exact", "r2"] == pytest.approx(1 - 10 / 200)
    assert value["s0", "reader", "r2"] == pytest.approx(1 - 8 / 200)
    assert value["s1", "exact", "r2"] == value["s1", "exact", "pearson"] == pytest.approx(1.0)
    assert value["all", "exact", "mae"] == pytest.approx((1 + 3) / 4)
    # About the mean of all, 50.5: 90.25 + 110.25 + 420.25 + 380.25.
    assert value["all", "exact", "r2"] == pytest.approx(1 - 10 / 1001)
    assert {row["patients"] for row in found if row["hospital"] == "all"} == {4}
    with pytest.raises(RuntimeError, match="finite"):
        score_rows(rows, exact.drop("c1-1"), np.array([42.0, 58.0, 30.0, 70.0]))


class Stills:
    """As many clips as windows, of one window each."""

    def __init__(self, windows: list[Window]) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def test_windows(self, index: int) -> list[Window]:
        return [self.windows[index]]


def test_features_of_a_probe_are_means_and_deviations_of_each_stage_inside_the_sector() -> None:
    """Against NumPy, clip by clip: the second one's sector is half of the picture."""
    torch.manual_seed(0)
    encoder = VideoEncoder(ModelConfig(patch=8), DataConfig(size=32, frames=4)).eval()
    rng, windows = np.random.default_rng(0), []
    for columns in (32, 16):
        sector = np.zeros((32, 32), dtype=bool)
        sector[:, :columns] = True
        frames = rng.integers(0, 255, (4, 32, 32)).astype(np.uint8)
        windows.append(Window(frames, np.arange(4, dtype=np.float32), sector))
    found = pooled_features(encoder, Stills(windows))  # type: ignore[arg-type]
    assert found.shape == (2, 2 * 5 * 128)
    for row, window in zip(found, windows, strict=True):
        batch: Batch = to_batch([window])
        region = encoder.region(batch.sector)
        with torch.inference_mode():
            seen = None if region is None else region.in_every_slot(2, 16)
            levels = [
                level.numpy()[0].astype(np.float64) for level in encoder.levels(batch.video, seen)
            ]
        expected = []
        for level in levels:
            slots = level.reshape(2, -1, 128)
            expected.append(slots.mean(axis=(0, 1)))
            expected.append(0.5 * np.log(slots.var(axis=0) + 1e-4).mean(axis=0))
        np.testing.assert_allclose(row, np.concatenate(expected), atol=2e-5)


def test_cost_adds_up_over_processes_that_worked_at_one_run(tmp_path: Path) -> None:
    """As if a first process had been killed after 5 s of CPU and 7 of wall."""
    (tmp_path / COST).write_text('{"cpu": 5.0, "wall": 7.0}')
    with clock(tmp_path) as tick:
        tick(None)
    found = cost_of(tmp_path)
    assert 5 <= found.cpu < 6
    assert 7 <= found.wall < 8


@pytest.mark.parametrize("words", [["--quick", "--keep"], ["--draws=0"], ["--keep"]])
def test_words_are_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--keep`` alone would lose what is kept."""
    monkeypatch.setattr("benchmarks.learning.FILE", tmp_path)  # is there
    with pytest.raises(SystemExit, match="2"):
        main(words)
