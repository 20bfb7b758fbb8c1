"""`evaluation.few_shot` in a study: the same fine-tuning as in a run of the plan alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.report.study_page import FEW_SHOT_TITLE
from tests.simulations.test_experiment import PLAN
from tests.support.commands import Echofm

PHANTOMS = """
[machine.phantoms]
folder = "data"
patients = {northfield = 10, valley = 12}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, echofm: Echofm) -> Path:
    """The study of one method and one seed, and the run; one hospital is never seen."""
    home = tmp_path_factory.mktemp("few")
    few = "few_shot = [0, 2, 4]\nfew_shot_rounds = 1\nbaselines = []\nmin_patients = 2"
    plan = PLAN.replace('baselines = ["local", "pooled", "leave_one_out"]', few)
    plan = plan.replace("keep_optimizer = true", 'keep_optimizer = true\ntasks = ["ef"]')
    plan = plan.replace("[evaluation]", '[protocol]\nunseen = ["valley"]\n[evaluation]')
    plan = plan.replace('roots = ["data"]', 'roots = ["data/hospitals"]\ncache = "cache"')
    (home / "plan.toml").write_text(plan + PHANTOMS, encoding="utf-8")
    for words in (("--out", "study", "--methods", "fedavg"), ("--out", "run")):
        done = echofm("simulate", "plan.toml", *words, cwd=home)
        assert done.returncode == 0, done.stderr
        (home / f"{words[1]}.txt").write_text(done.stdout, encoding="utf-8")
    return home


def test_scores_are_those_of_the_run_to_the_bit(home: Path) -> None:
    run, seed = (
        pd.read_parquet(home / place / "few_shot.parquet") for place in ("run", "study/seed-3")
    )
    pd.testing.assert_frame_equal(run, seed)
    assert sorted(run["shots"].unique()) == [0, 2, 4] and set(run["site"]) == {"valley"}


def test_the_study_has_the_curve_over_its_seeds(home: Path) -> None:
    """Of one seed the values of that seed."""
    keys = ["shots", "task", "metric"]
    seed, whole = (
        pd.read_parquet(home / place / "few_shot.parquet").set_index(keys)["value"]
        for place in ("study/seed-3", "study")
    )
    pd.testing.assert_series_equal(whole.sort_index(), seed.sort_index())
    page = (home / "study/report.html").read_text(encoding="utf-8")
    for text in (page.replace("&#39;", "'"), (home / "study.txt").read_text(encoding="utf-8")):
        assert FEW_SHOT_TITLE in text and "4 patients" in text


def test_each_is_one_training_on_the_methods_own_model(home: Path) -> None:
    results = home.glob("study/seed-3/arms/shots-*/result.json")
    assert sorted(json.loads(path.read_text())["arm"] for path in results) == [
        "shots:valley:2",
        "shots:valley:4",
    ]


def test_a_dry_run_counts_them(echofm: Echofm, home: Path) -> None:
    done = echofm(
        "simulate", "plan.toml", "--dry-run", "--out", "other", "--methods", "fedavg", cwd=home
    )
    assert done.returncode == 0, done.stderr
    assert "shots:valley:4" in done.stdout and "shots:valley:0" not in done.stdout


def test_gone_on_with_without_them_nothing_of_the_other_split_is_left(
    echofm: Echofm, home: Path
) -> None:
    """Without few_shot all patients of the site are test patients, of the floor as of the models;
    and the curve on the patients that were kept apart goes."""
    shutil.copytree(home / "study", home / "later")
    text = (home / "plan.toml").read_text(encoding="utf-8")
    (home / "later.toml").write_text(text.replace("few_shot = [0, 2, 4]\n", ""), encoding="utf-8")
    words = ("--out", "later", "--methods", "fedavg", "--resume")
    done = echofm("simulate", "later.toml", *words, cwd=home)
    assert done.returncode == 0, done.stderr
    scores = pd.read_parquet(home / "later/scores.parquet")
    there = scores[(scores["site"] == "valley") & (scores["metric"] == "mae")]
    patients = there.set_index("model")["patients"].to_dict()
    assert patients == {"federated": 12, "no_network": 12}
    for folder in ("later", "later/seed-3"):
        assert not (home / folder / "few_shot.parquet").exists()
        assert FEW_SHOT_TITLE not in (home / folder / "report.html").read_text(encoding="utf-8")
