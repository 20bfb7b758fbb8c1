"""`[study] vary` in real processes: one encoder for all variations, and one table of them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.report.study_page import read_parts
from tests.simulations.test_experiment import PLAN
from tests.support.commands import Echofm

PHANTOMS = """
[machine.phantoms]
folder = "data"
patients = {echonet_dynamic = 14}
"""
STUDY = """
[study]
methods = ["local", "no_pretraining"]
[study.vary]
"model.stf_without" = [[], ["deviation"]]
[[study.published]]
task = "ef"
metric = "r2"
what = "EF R2"
value = 0.825
source = "a paper"
[[study.published]]
task = "ef"
metric = "rmse"
what = "EF RMSE"
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, echofm: Echofm) -> Path:
    """A finished study of two variations; the second one came later."""
    home = tmp_path_factory.mktemp("varied")
    plan = PLAN.replace('["local", "pooled", "leave_one_out"]', "[]\nmin_patients = 2")
    plan = plan.replace("keep_optimizer = true", 'keep_optimizer = true\ntasks = ["ef"]')
    plan = plan.replace('roots = ["data"]', 'roots = ["data/public"]')
    (home / "plan.toml").write_text(plan + PHANTOMS + STUDY, encoding="utf-8")
    (home / "first.toml").write_text(
        (home / "plan.toml").read_text().replace('[[], ["deviation"]]', "[[]]"), encoding="utf-8"
    )
    done = echofm("simulate", "first.toml", "--out", "run", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "times.json").write_text(json.dumps(times(home)))
    done = echofm("simulate", "plan.toml", "--out", "run", "--resume", cwd=home)
    assert done.returncode == 0, done.stderr
    (home / "printed").write_text(done.stdout, encoding="utf-8")
    return home


def times(home: Path) -> dict[str, int]:
    """When each training was finished."""
    return {str(path): path.stat().st_mtime_ns for path in home.glob("run/**/result.json")}


def trainings(run: Path) -> list[str]:
    """Names of all finished trainings, without their keys."""
    return sorted(path.parent.name.rpartition("-")[0] for path in run.glob("**/result.json"))


def test_what_variations_share_is_trained_once(home: Path) -> None:
    """Two STF-Nets on the pre-trained encoder, two on a random one, and one pre-training."""
    assert trainings(home / "run") == [
        "local-echonet_dynamic",
        "local-echonet_dynamic",
        "no_pretraining",
        "no_pretraining",
        "pretraining-local-echonet_dynamic",
    ]


def test_one_table_has_a_row_a_method_and_value(home: Path) -> None:
    """Each number is that of the variation's own table."""
    parts = {part.variation["model.stf_without"]: part for part in read_parts(home / "run")}
    assert list(parts) == ["none", "deviation"]
    page = (home / "run/report.html").read_text(encoding="utf-8")
    printed = (home / "printed").read_text(encoding="utf-8")
    assert page.count("★ best value of its column") == len(parts)
    for text in (page, printed):
        assert "model.stf_without" in text and "deviation" in text
    for part in parts.values():
        table = pd.read_parquet(home / "run" / part.place / "table.parquet")
        mae = table[(table["task"] == "ef") & (table["metric"] == "mae")].set_index("method")
        assert f"{mae.loc['no_pretraining', 'mean']:.1f}" in printed


def test_published_numbers_stand_beside_ours(home: Path) -> None:
    part = read_parts(home / "run")[0]
    table = part.published
    assert table is not None
    assert [row[:2] for row in table.rows] == [("EF R2", "0.825 [1]"), ("EF RMSE", "")]
    scores = part.run.scores
    mine = scores[(scores["model"] == "no_pretraining") & (scores["site"] == "all")]
    rmse = mine.set_index(["task", "metric"])["value"]["ef", "rmse"]
    column = table.columns.index("no_pretraining")
    assert table.rows[1][column] == f"{rmse:.3g}"
    for text in (home / "run/report.html", home / "printed"):
        words = " ".join(text.read_text(encoding="utf-8").split())
        assert "[1] a paper" in words and "nothing is compared with them" in words


def test_a_study_gains_a_value_and_trains_nothing_again(home: Path) -> None:
    before, after = json.loads((home / "times.json").read_text()), times(home)
    assert {path: after[path] for path in before} == before
    assert len(before) == 3 and len(after) == 5


def test_tables_are_written_for_a_paper(echofm: Echofm, home: Path) -> None:
    done = echofm("report", "run", "--format", "csv", "--checklist", cwd=home)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(home / "run/export/varied-ef-mae.csv")
    assert {"method", "model.stf_without"} <= set(table)
    assert (home / "run/export/stf_without-none-published.csv").exists()
    written = [path.parent.name for path in (home / "run/export").rglob("checklist.md")]
    assert len(written) == 2 and all(name.startswith("seed-") for name in written)


def test_a_dry_run_counts_shared_work_once(echofm: Echofm, home: Path) -> None:
    done = echofm("simulate", "plan.toml", "--out", "other", "--dry-run", cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pretraining:local:echonet_dynamic") == 1
    assert done.stdout.count("no_pretraining") == 2
    assert "protocol institution, model.stf_without = deviation" in done.stdout
    assert "The smallest difference in mean absolute EF error" in " ".join(done.stdout.split())
    assert not (home / "other").exists()
