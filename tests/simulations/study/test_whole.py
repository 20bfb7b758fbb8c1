"""`echofm simulate --seeds --methods` in real processes, killed and gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echofm_core.data.manifest import load_manifest
from echofm_core.data.splits import split_digest
from echofm_core.data.training_record import count_trained_on, find_record
from echofm_core.phantom.institutions import Layout
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.runtime.errors import FederationError
from server.ending import FederationResult
from simulations.arm_training import Training
from simulations.arms import Arm
from simulations.study.run import run_study
from tests.simulations.test_experiment import PLAN, Command
from tests.support.commands import ECHOFM, Echofm
from tests.support.forks import Forks
from tests.support.phantoms import Phantoms

METHODS = "fedavg,local,ensemble,frozen"
OPTIONS = ("--seeds", "2", "--methods", METHODS)
#: What must not depend on a kill, nor on how many workers there are.
TABLES = ("scores", "paired", "seeds", "methods", "table", "sites")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small institutions and a plan, whose decoded clips all runs share."""
    home = tmp_path_factory.mktemp("home")
    patients = {Layout.ECHONET_DYNAMIC: 16, Layout.CAMUS: 8}
    phantoms.institutions(home / "data", patients, seed=5)
    plan = PLAN.replace('baselines = ["local", "pooled", "leave_one_out"]', "baselines = []")
    plan = plan.replace("bootstrap = 100", "bootstrap = 100\nmin_patients = 2")
    plan = plan.replace("keep_optimizer = true", 'keep_optimizer = true\ntasks = ["ef"]')
    (home / "plan.toml").write_text(plan + 'cache = "cache"\n', encoding="utf-8")
    return home


def start(forks: Forks, home: Path, run: str, *options: str) -> Command:
    log = home / f"{run}.{len(list(home.glob(f'{run}.*')))}.log"
    log.touch()
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    words = ["simulate", "plan.toml", "--out", run, *options]
    return Command(forks.start(ECHOFM, *words, cwd=home, out=log, env=env), log)


@pytest.fixture(scope="module")
def whole(forks: Forks, home: Path) -> str:
    """What an uninterrupted study prints."""
    return start(forks, home, "whole", *OPTIONS).end()


def results(folder: Path) -> dict[str, dict[str, object]]:
    """Name of a training -> what it ended with."""
    found = {}
    for path in sorted(folder.glob("arms/*/result.json")):
        found[path.parent.name.rpartition("-")[0]] = json.loads(path.read_text())
    return found


def test_shared_work_is_done_once(home: Path, whole: str) -> None:
    """One encoder behind FedAvg and frozen; the ensemble trains nothing of its own."""
    expected = {
        "fedavg", "pretraining-federated",
        *(f"{kind}-{site}" for kind in ("local", "frozen", "pretraining-local")
          for site in ("camus", "echonet_dynamic")),
    }  # fmt: skip
    for seed in (3, 4):
        assert set(results(home / f"whole/seed-{seed}")) == expected


def test_seeds_have_one_split_which_is_named(home: Path, whole: str) -> None:
    parts = [json.loads((home / f"whole/seed-{seed}/summary.json").read_text()) for seed in (3, 4)]
    manifest = load_manifest(home / "whole/seed-3/manifests/all.parquet")
    assert {part["split_sha256"] for part in parts} == {split_digest(manifest)}
    assert not any(part["synthetic_sites"] for part in parts)
    for seed, part in zip((3, 4), parts, strict=True):
        assert (part["split_seed"], part["reference"]) == (3, "fedavg")
        page = (home / f"whole/seed-{seed}/report.html").read_text(encoding="utf-8")
        assert "for validation, by seed 3." in page


def test_the_table_has_a_row_a_method_and_bytes_beside(home: Path, whole: str) -> None:
    table = pd.read_parquet(home / "whole/table.parquet")
    mae = table[(table["task"] == "ef") & (table["metric"] == "mae")].set_index("method")
    assert list(mae.index) == [*METHODS.split(","), "no_network"]
    assert (mae["seeds"] == 2).all()
    assert mae.loc["local", "megabytes"] == 0 < mae.loc["ensemble", "megabytes"]
    assert mae.loc["frozen", "megabytes"] < mae.loc["fedavg", "megabytes"]
    each = pd.read_parquet(home / "whole/seeds.parquet")
    here = each[(each["model"] == "federated") & (each["task"] == "ef") & (each["metric"] == "mae")]
    sites = here[here["site"] != "all"].groupby("seed")["value"].mean()
    assert mae.loc["fedavg", "mean"] == pytest.approx(sites.mean())
    assert mae.loc["fedavg", "spread"] == pytest.approx(sites.std(ddof=1))
    assert "report: whole/report.html" in whole
    page = (home / "whole/report.html").read_text()
    assert "seed-4/report.html" in page and (home / "whole/seed-4/report.html").exists()


def test_a_dry_run_says_how_many_comparisons_there_will_be(
    forks: Forks, home: Path, whole: str
) -> None:
    """What it says of the smallest difference that can be shown goes by their number."""
    paired = pd.read_parquet(home / "whole/paired.parquet")
    mine = paired[(paired["metric"] == "mae") & (paired["rival"] != "no_network")]
    said = start(forks, home, "dry", *OPTIONS, "--dry-run").end()
    assert f"one of {mine['comparisons'].max()} comparisons" in said
    assert "Each row is one of 2 trainings, one a seed." in said


def test_fedavg_is_the_run_of_the_plan_alone(forks: Forks, home: Path, whole: str) -> None:
    """Both phases in two trainings give the bits of one run."""
    start(forks, home, "alone").end()
    summary = json.loads((home / "alone/summary.json").read_text())
    assert results(home / "whole/seed-3")["fedavg"]["digest"] == summary["digest"]
    assert results(home / "whole/seed-4")["fedavg"]["digest"] != summary["digest"]


def test_whom_a_training_has_seen_can_be_counted_with_what_it_keeps(home: Path, whole: str) -> None:
    """Its own patients, and those of the pre-training that it began with, have a key each."""
    data = load_manifest(home / "whole/seed-3/manifests/all.parquet")
    known = set()
    for path in (home / "whole").glob("seed-*/arms/*/trained_on.json"):
        found = find_record(path.parent / "model", json.loads(path.read_text())["plan_hash"])
        assert found is not None and count_trained_on(data, *found) > 0
        known.add(len(found[1].parts))
    assert known == {1, 2}


def test_the_patients_of_all_seeds_are_those_of_the_first(home: Path, whole: str) -> None:
    first, second = (
        pd.read_parquet(home / f"whole/seed-{seed}/manifests/camus.parquet") for seed in (3, 4)
    )
    pd.testing.assert_frame_equal(first, second)


def test_killed_in_the_second_seed_and_gone_on_with_two_workers_the_tables_are_the_same(
    forks: Forks, home: Path, whole: str
) -> None:
    command = start(forks, home, "killed", *OPTIONS)
    while not list((home / "killed").glob("seed-4/arms/fedavg-*/journal/finetune-0001.json")):
        assert command.process.poll() is None, command.log.read_text()
        time.sleep(0.01)
    command.process.kill()
    assert command.process.wait(10) == -signal.SIGKILL
    assert not (home / "killed/report.html").exists()
    start(forks, home, "killed", *OPTIONS, "--resume", "--workers", "2").end()
    for name in TABLES:
        first, second = (home / run / f"{name}.parquet" for run in ("whole", "killed"))
        assert first.read_bytes() == second.read_bytes(), name
    for name in ("scores", "paired"):
        first, second = (home / run / f"seed-4/{name}.parquet" for run in ("whole", "killed"))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_method_that_diverges_with_one_seed_is_left_out_and_the_study_goes_on(
    home: Path, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FedAdam's second seed; with the first it trains, and its page is written anew without it."""
    shutil.copytree(home / "whole", home / "lost")
    monkeypatch.chdir(home)
    plan = load_plan(home / "plan.toml")
    study = {"seeds": 2, "methods": (*METHODS.split(","), "fedadam")}
    plan = plan.model_copy(update={"study": plan.study.model_copy(update=study)})
    fit = Training.fit

    def diverge(training: Training, arm: Arm, plan: Plan, *rest: Any) -> FederationResult:
        if arm.name == "fedadam" and plan.seed == 4:
            sites = dict.fromkeys(arm.train, "DivergedError: its loss is not finite")
            raise FederationError("no update", sites, dict.fromkeys(sites, 28))
        return fit(training, arm, plan, *rest)

    monkeypatch.setattr(Training, "fit", diverge)
    run_study(plan, home / "lost", resume=True)
    assert list((home / "lost/seed-3/arms").glob("fedadam-*/result.json"))
    for place in ("lost", "lost/seed-3", "lost/seed-4"):
        assert "fedadam" not in set(pd.read_parquet(home / place / "scores.parquet")["model"])
        assert not (home / place / "predictions/fedadam.parquet").exists()
        note = "The method fedadam is left out: training diverged with seed 4."
        assert note in " ".join(json.loads((home / place / "summary.json").read_text())["notes"])
    for name in TABLES:
        same, other = (home / run / f"{name}.parquet" for run in ("whole", "lost"))
        assert same.read_bytes() == other.read_bytes(), name
    assert note in (home / "lost/report.html").read_text()


def test_a_study_gains_a_method_and_trains_nothing_again(
    forks: Forks, home: Path, whole: str
) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in (home / "whole").glob("*/arms/*/result.json")
    }
    more = ("--seeds", "2", "--methods", f"{METHODS},one_shot", "--resume")
    start(forks, home, "whole", *more).end()
    after = {
        path: path.stat().st_mtime_ns for path in (home / "whole").glob("*/arms/*/result.json")
    }
    assert {path: after[path] for path in before} == before
    assert {path.parent.name[:8] for path in after.keys() - before.keys()} == {"one_shot"}
    assert "one_shot" in set(pd.read_parquet(home / "whole/table.parquet")["method"])


def test_a_folder_of_something_else_is_refused(echofm: Echofm, home: Path, whole: str) -> None:
    (home / "other.toml").write_text(
        (home / "plan.toml").read_text().replace("seed = 3", "seed = 9")
    )
    for words, expected in (
        (("plan.toml", *OPTIONS), "whole already holds a study; continue it with --resume"),
        (("other.toml", *OPTIONS, "--resume"), "whole holds a study of another plan"),
        (("plan.toml",), "whole holds a study; go on with it by its own plan"),
        (
            ("plan.toml", "--methods", "fedavgg"),
            "there is no method 'fedavgg', did you mean 'fedavg'",
        ),
    ):
        done = echofm("simulate", *words, "--out", "whole", cwd=home)
        assert done.returncode > 0
        assert expected in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
