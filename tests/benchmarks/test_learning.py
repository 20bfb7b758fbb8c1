"""The learning benchmark: its arms, who has labels, intervals and bars, and going on after a kill.

What the arms reach is the benchmark's own to judge; here it is what they are made of.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks._rows import Row
from benchmarks.learning_arms import Arm, Start, all_arms, few_arms, recipe, whole_table
from benchmarks.learning_clock import COST, clock, cost_of
from benchmarks.learning_data import Phantoms, open_data, with_labels, write_and_decode
from benchmarks.learning_floor import floors_of
from benchmarks.learning_kept import KEPT, keep, kept, renewed
from benchmarks.learning_table import MEASURES, Results, over_seeds, rows_of, table_of
from benchmarks.learning_work import place_of, place_of_pretraining
from echofm_core.data.manifest import Split
from echofm_core.models.config import StfNetForm
from echofm_core.plan.document import Plan
from echofm_core.training.config import TuneMode
from tests.benchmarks.small_table import train_small_table
from tests.support.forks import MODULE, Forks


@pytest.mark.slow
def test_killed_and_gone_on_with_it_ends_on_the_same_figures(forks: Forks, tmp_path: Path) -> None:
    """SIGKILL in the middle of the second arm; nothing that was done is done again.

    The killed run starts from a copy of the patients that the whole one decoded, to save time.
    """
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    scores = train_small_table(whole)
    shutil.copytree(whole, cut, ignore=shutil.ignore_patterns("runs"))

    words = ("tests.benchmarks.small_table", cut)
    process = forks.start(MODULE, *words, cwd=Path(__file__).parents[2], out=Path(os.devnull))
    while process.poll() is None and not list(cut.glob("runs/*/mae-*/journal/*-0001.json")):
        time.sleep(0.01)
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in cut.glob("runs/*/*/journal/*.json")}
    assert len(done) >= 2 + 4 + 1  # of pre-training, of the first arm, of the second

    pd.testing.assert_frame_equal(train_small_table(cut), scores)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    wanted = {(item.task.value, item.metric) for item in MEASURES}
    assert wanted <= set(zip(scores["task"], scores["metric"], strict=True))
    costs = [cost_of(file.parent) for file in cut.glob(f"runs/*/*/{COST}")]  # the floor has none
    assert len(costs) == 3
    assert all(cost.cpu > 0 and cost.wall > 0 for cost in costs)


def test_the_whole_table_holds_every_arm_once() -> None:
    """2 starts x 3 networks x 2, and 2 starts x 4 smaller shares: 20 a seed, none twice."""
    arms = all_arms(range(3))
    assert len({(arm.seed, arm.name) for arm in arms}) == len(arms) == 60
    assert Counter(arm.seed for arm in arms) == {0: 20, 1: 20, 2: 20}
    table = whole_table(range(3))
    assert table[:60] == arms
    # 5 more seeds of 2 starts x 3 shares.
    assert Counter(arm.seed for arm in table[60:]) == dict.fromkeys(range(3, 8), 6)
    assert {arm.name for arm in table[60:]} == {
        f"{start}-compact-full-{percent}" for start in Start for percent in (5, 10, 100)
    }
    assert whole_table(range(9)) == all_arms(range(9))
    assert len(few_arms([0])) == 6
    assert set(few_arms([0])) <= set(arms)


@pytest.mark.parametrize(
    ("form", "frozen", "mode"),
    [
        (StfNetForm.MEAN_POOL, True, TuneMode.LINEAR),
        (StfNetForm.COMPACT, True, TuneMode.STF_PROBE),
        (StfNetForm.PUBLISHED, True, TuneMode.STF_PROBE),
        (StfNetForm.COMPACT, False, TuneMode.FULL),
    ],
)
def test_what_an_arm_trains(form: StfNetForm, frozen: bool, mode: TuneMode) -> None:
    plan = Arm(seed=2, start=Start.MAE, form=form, frozen=frozen).plan(recipe())
    assert (plan.seed, plan.model.stf_net, plan.finetune.mode) == (2, form, mode)


def test_all_shares_of_labels_take_the_same_steps() -> None:
    """A twentieth of the patients is passed over twenty times as often."""
    arms = [arm for arm in all_arms([0]) if arm.form is StfNetForm.COMPACT and not arm.frozen]
    work = {arm.percent * arm.plan(recipe()).finetune.local_epochs for arm in arms}
    assert work == {100 * recipe().finetune.local_epochs}


def test_another_pre_training_is_another_folder_for_what_starts_from_it_and_for_nothing_else(
    tmp_path: Path,
) -> None:
    ours, other = recipe(), changed_pretraining(recipe())
    for arm in all_arms([0]):
        same = place_of(arm, ours, tmp_path) == place_of(arm, other, tmp_path)
        assert same is (arm.start is Start.RANDOM)
    assert place_of_pretraining(0, ours, tmp_path) != place_of_pretraining(0, other, tmp_path)


def changed_pretraining(plan: Plan) -> Plan:
    longer = plan.pretrain.model_copy(update={"rounds": plan.pretrain.rounds + 1})
    return plan.model_copy(update={"pretrain": longer})


def test_shares_are_nested_and_hide_labels_of_training_patients_alone(tmp_path: Path) -> None:
    """Of 8 EchoNet patients 6 train, and of 8 TMED-2 patients 6: 50 % is 3, and 5 % is still 1."""
    patients = {5: 1, 50: 3, 100: 6}
    write_and_decode(Phantoms(echonet_dynamic=8, tmed2=8, seed=3), recipe(), tmp_path)
    data = open_data(tmp_path)
    assert set(data.manifest["split"]) == {Split.TRAIN.value, Split.TEST.value}
    kept = {}
    for percent in patients:
        rows = with_labels(data, percent, seed=0).manifest
        train = rows[rows["split"] == Split.TRAIN.value]
        labelled = train[train["ef"].notna() | train["as_grade"].notna()]
        counts = labelled.groupby("dataset", observed=True)["patient_id"].nunique()
        assert dict(counts) == {"echonet_dynamic": patients[percent], "tmed2": patients[percent]}
        kept[percent] = set(labelled["patient_id"])
        assert len(rows) == len(data.manifest)
        test = rows["split"] == Split.TEST.value
        pd.testing.assert_frame_equal(rows[test], data.manifest[test])
    assert kept[5] < kept[50] < kept[100]


def test_an_interval_over_seeds_is_students() -> None:
    """1, 2, 3: standard error 1 / sqrt(3), t of two degrees of freedom 4.3027."""
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert found.mean - found.low == pytest.approx(4.3027 / 3**0.5, abs=1e-4)


def test_the_interval_of_one_seed_is_over_patients() -> None:
    arms, scores = scored(ours=0.85, gain_few=0.3, seeds=1)
    results = Results(arms, scores.assign(low=scores["value"] - 0.1, high=scores["value"] + 0.2))
    found = results.interval(MEASURES[0], results.compact(Start.MAE))
    assert (found.mean, found.low, found.high) == pytest.approx((0.85, 0.75, 1.05))
    assert "over patients (one seed)" in table_of(results)


def scored(ours: float, gain_few: float, seeds: int = 2) -> tuple[list[Arm], pd.DataFrame]:
    """Seeds 0.01 apart. MAE + STF-Net has ``ours``, the floor 0.6 and all others 0.70, but with
    few labels, where random initialisation has 0.5 and MAE that and ``gain_few``."""
    arms = all_arms(range(seeds))
    rows = []
    for arm in arms:
        best = arm.start is Start.MAE and arm.form is StfNetForm.COMPACT and not arm.frozen
        value = ours if best else 0.70
        if arm.percent < 100:
            value = 0.5 + (gain_few if best and arm.percent <= 10 else 0.0)
        for item in MEASURES:
            rows.append((arm.seed, arm.name, item.task.value, item.metric, value + 0.01 * arm.seed))
    for floor in floors_of(arms):
        for item in MEASURES:
            rows.append(
                (floor.seed, floor.name, item.task.value, item.metric, 0.6 + 0.02 * floor.seed)
            )
    return arms, pd.DataFrame(rows, columns=["seed", "arm", "task", "metric", "value"])


def test_all_bars_hold_where_mae_and_stf_net_are_best_and_most_at_few_labels() -> None:
    """0.30 with 5 and 10 % of labels, 0.15 with all, nothing between."""
    results = Results(*scored(ours=0.85, gain_few=0.3))
    rows = rows_of(results)
    assert [row.holds for row in rows if row.bar] == [True] * 8
    assert rows[0].ours == pytest.approx(0.855)
    assert gains(rows) == pytest.approx([0.3, 0.3, 0.0, 0.0, 0.15] * 2)
    assert rows[-1].ours == pytest.approx(0.15)
    lines = table_of(results).splitlines()
    assert sum(line.startswith("  mae-compact-full-5 ") for line in lines) == len(MEASURES)
    summary = next(line for line in lines if line.startswith("mae-compact-full-100"))
    assert summary.split() == ["mae-compact-full-100"] + ["0.855", "±", "0.064"] * 5


def test_the_floor_stands_in_the_table_and_the_difference_from_it_is_paired() -> None:
    """Of two seeds ours is 0.85 and 0.86, the floor 0.60 and 0.62: 0.25 and 0.24 above it, half an
    interval of 12.706 x 0.005; each share of labels has a floor."""
    results = Results(*scored(ours=0.85, gain_few=0.3))
    assert list(results.floors) == [f"no_network-{share}" for share in (100, 50, 25, 10, 5)]
    rows = [row for row in rows_of(results) if "less the floor" in row.what]
    assert [row.ours for row in rows] == pytest.approx([0.245] * 5)
    lines = table_of(results).splitlines()
    summary = next(line for line in lines if line.startswith("no_network-100"))
    assert summary.split()[1::3] == ["0.610"] * 5
    start = next(number for number, line in enumerate(lines) if "less the floor" in line)
    assert lines[start + 1].split() == ["EF", "R2", "0.245", "0.181", "to", "0.309"]


def test_arms_stand_side_by_side_on_the_seeds_that_all_have_and_gains_on_every_draw() -> None:
    """Seeds 0 and 1, worth 0.005 on average; a third of the judged arms, whose MAE gains 0.9."""
    arms, scores = scored(ours=0.85, gain_few=0.3)
    more = scores[(scores["seed"] == 1) & scores["arm"].str.contains("compact-full-(?:5|10|100)$")]
    higher = more["value"] + 0.6 * more["arm"].str.startswith("mae")
    floors = scores[(scores["seed"] == 1) & scores["arm"].str.startswith("no_network")]
    results = Results(
        [*arms, *(replace(arm, seed=2) for arm in arms if arm.name in set(more["arm"]))],
        pd.concat([scores, more.assign(seed=2, value=higher), floors.assign(seed=2)]),
    )
    rows = rows_of(results)
    assert results.seeds == [0, 1]
    assert rows[0].ours == pytest.approx(0.855)
    assert gains(rows)[0] == pytest.approx((0.3 + 0.3 + 0.9) / 3)
    assert gains(rows)[2] == pytest.approx(0.0)


def test_bars_are_missed_where_they_should_be() -> None:
    """Of two values 0.01 apart the half interval is 12.706 x 0.005 = 0.0635, so that the best's low
    end is 0.705 - 0.0635 = 0.6415, and ours 0.555."""
    rows = rows_of(Results(*scored(ours=0.55, gain_few=-0.3)))
    assert [row.holds for row in rows if row.bar] == [False] * 8
    assert rows[1].ours == pytest.approx(0.555 - 0.6415, abs=1e-4)


def gains(rows: list[Row]) -> list[float]:
    return [row.ours for row in rows if "less random init" in row.what]


def test_what_is_kept_holds_every_figure_and_reads_as_it_was_printed(tmp_path: Path) -> None:
    arms, scores = scored(ours=0.85, gain_few=0.3)
    rows, table = rows_of(Results(arms, scores)), table_of(Results(arms, scores))
    keep(tmp_path, {"made by": "a test"}, scores, rows, table)
    kept = json.loads((tmp_path / "learning.json").read_text())
    assert kept["made by"] == "a test"
    again = pd.DataFrame(kept["data"], columns=kept["columns"])
    pd.testing.assert_frame_equal(again, scores)
    assert len(again) == 2 * (20 + 5) * len(MEASURES)
    assert [bar["holds"] for bar in kept["bars"] if bar["bar"]] == [True] * 8
    text = (tmp_path / "learning.md").read_text()
    assert "SYNTHETIC" in text
    assert table in text


def test_cost_adds_up_over_processes_that_worked_at_one_run(tmp_path: Path) -> None:
    """As if a first process had been killed after 5 s of CPU and 7 of wall."""
    (tmp_path / COST).write_text('{"cpu": 5.0, "wall": 7.0}')
    with clock(tmp_path) as tick:
        tick(None)
    found = cost_of(tmp_path)
    assert 5 <= found.cpu < 6
    assert 7 <= found.wall < 8


def test_what_is_kept_is_judged_as_it_was_when_it_was_made() -> None:
    """The rows that the kept figures give now are the rows that were kept beside them."""
    _, scores = kept(KEPT)
    rows = rows_of(Results(whole_table(range(3)), scores))
    then = json.loads((KEPT / "learning.json").read_text(encoding="utf-8"))["bars"]
    assert [row.what for row in rows] == [row["what"] for row in then]
    assert [row.ours for row in rows] == pytest.approx([row["ours"] for row in then], abs=1e-4)
    assert [row.holds for row in rows] == [row["holds"] for row in then]


def test_arms_trained_anew_take_the_place_of_their_old_figures() -> None:
    """Arm b's seed 0 and arm c are new; a, and b's seed 1, stay as they were."""
    columns = ["arm", "seed", "value"]
    old = pd.DataFrame([["a", 0, 1.0], ["b", 0, 2.0], ["b", 1, 3.0]], columns=columns)
    new = pd.DataFrame([["b", 0, 20.0], ["c", 0, 40.0]], columns=columns)
    expected = [["a", 0, 1.0], ["b", 1, 3.0], ["b", 0, 20.0], ["c", 0, 40.0]]
    assert renewed(old, new).to_numpy().tolist() == expected
