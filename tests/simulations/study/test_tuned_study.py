"""`echofm simulate --tune` in real processes: killed while it tunes, and gone on with."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.phantom.institutions import Layout
from echofm_core.report.tuning import UNTUNED
from simulations.study.work import VALIDATION
from tests.simulations.study.test_whole import TABLES, results, start
from tests.simulations.test_experiment import PLAN
from tests.support.commands import Echofm
from tests.support.forks import Forks
from tests.support.phantoms import Phantoms

OPTIONS = ("--seeds", "2", "--tune", "2", "--methods")
METHODS = "fedavg,ditto"
MORE = f"{METHODS},fedadam"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of fine-tuning, and two institutions with two validation patients each."""
    home = tmp_path_factory.mktemp("home")
    patients = {Layout.ECHONET_DYNAMIC: 20, Layout.CAMUS: 20}
    phantoms.institutions(home / "data", patients, seed=5)
    plan = PLAN.replace('baselines = ["local", "pooled", "leave_one_out"]', "baselines = []")
    plan = plan.replace("[pretrain]\nrounds = 1", "[pretrain]\nrounds = 0")
    plan = plan.replace("keep_optimizer = true", 'keep_optimizer = true\ntasks = ["ef"]')
    (home / "plan.toml").write_text(plan + 'cache = "cache"\n', encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def whole(forks: Forks, home: Path) -> str:
    """What an uninterrupted study prints."""
    return start(forks, home, "whole", *OPTIONS, METHODS).end()


def times(home: Path) -> dict[Path, int]:
    """When each training was finished."""
    return {path: path.stat().st_mtime_ns for path in home.glob("whole/*/arms/*/result.json")}


def trained(folder: Path) -> list[str]:
    """Names of all finished trainings, without their keys."""
    return sorted(path.parent.name.rpartition("-")[0] for path in folder.glob("arms/*/result.json"))


def test_each_method_has_as_many_trainings_and_the_plans_own_is_one(home: Path, whole: str) -> None:
    """The second seed trains what was chosen alone."""
    assert trained(home / "whole/seed-3") == ["ditto", "ditto", "fedavg", "fedavg"]
    assert trained(home / "whole/seed-4") == ["ditto", "fedavg"]
    table = pd.read_parquet(home / "whole/tuning.parquet")
    assert table.groupby("method").size().to_dict() == {"ditto": 2, "fedavg": 2}
    assert table.groupby("method")["chosen"].sum().to_dict() == {"ditto": 1, "fedavg": 1}
    assert "Every method had 2 settings" in " ".join(whole.split())
    for place in ("whole", "whole/seed-4"):
        notes = json.loads((home / place / "summary.json").read_text())["notes"]
        assert any(note.startswith("ditto: The personal model (Ditto, ") for note in notes), place


def test_validation_patients_judged_and_what_they_chose_is_what_the_seeds_have(
    home: Path, whole: str
) -> None:
    """The files of the trainings hold the patients that the split holds out, and nobody else."""
    rows = pd.read_parquet(home / "whole/seed-3/manifests/all.parquet")
    held = set(rows.loc[rows["split"] == "val", "patient_id"])
    files = list((home / "whole").glob("*/arms/*/" + VALIDATION))
    assert len(files) == 6
    for file in files:
        assert set(pd.read_parquet(file)["patient_id"]) == held, file
    table = pd.read_parquet(home / "whole/tuning.parquet")
    assert set(table["patients"]) == {len(held)}
    chosen = table[table["chosen"]].set_index("method")["setting"]
    best = table.groupby("method")["score"].max()
    for method, setting in chosen.items():
        assert best[method] == table.set_index("setting")["score"][setting]
        key, _, value = setting.partition(" = ")
        for seed in (3, 4):
            plans = [
                file.read_text()
                for file in (home / f"whole/seed-{seed}").glob(f"arms/{method}-*/plan.toml")
            ]
            line = f"{key.rpartition('.')[2]} = {float(value)}"
            assert any(line in text for text in plans), (method, seed, line)


def test_killed_while_it_tunes_and_gone_on_with_two_workers_the_tables_are_the_same(
    forks: Forks, home: Path, whole: str
) -> None:
    command = start(forks, home, "killed", *OPTIONS, METHODS)
    while len(list((home / "killed").glob("seed-3/arms/*/journal/finetune-0001.json"))) < 3:
        assert command.process.poll() is None, command.log.read_text()
        time.sleep(0.01)
    command.process.kill()
    assert command.process.wait(10) == -signal.SIGKILL
    assert not (home / "killed/tuning.parquet").exists()
    start(forks, home, "killed", *OPTIONS, METHODS, "--resume", "--workers", "2").end()
    for name in (*TABLES, "tuning"):
        first, second = (home / run / f"{name}.parquet" for run in ("whole", "killed"))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_study_gains_a_method_and_tunes_that_alone(forks: Forks, home: Path, whole: str) -> None:
    before = times(home)
    start(forks, home, "whole", *OPTIONS, MORE, "--resume").end()
    after = times(home)
    assert {path: after[path] for path in before} == before
    assert sorted(path.parent.name[:7] for path in after.keys() - before.keys()) == ["fedadam"] * 3
    table = pd.read_parquet(home / "whole/tuning.parquet")
    assert table.groupby("method").size().to_dict() == {"ditto": 2, "fedadam": 2, "fedavg": 2}
    assert len(results(home / "whole/seed-4")) == 3


def test_a_study_that_tunes_no_longer_says_so(forks: Forks, home: Path, whole: str) -> None:
    """All methods have the plan's values again; what was trained by others is left as it is."""
    said = start(forks, home, "whole", "--seeds", "2", "--methods", MORE, "--resume").end()
    assert UNTUNED in " ".join(said.split())
    assert not (home / "whole/tuning.parquet").exists()
    assert "tune = 0" in (home / "whole/plan.toml").read_text()


def test_a_dry_run_counts_settings_once_and_not_by_seed(echofm: Echofm, home: Path) -> None:
    done = echofm("simulate", "plan.toml", "--out", "dry", *OPTIONS, METHODS, "--dry-run", cwd=home)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "for 2 seeds and 2 trainings of other settings" in said
    assert said.count("ditto (personal.ditto = 1)") == 1


def test_a_study_that_cannot_be_tuned_is_refused_in_a_sentence(echofm: Echofm, home: Path) -> None:
    (home / "private.toml").write_text(
        (home / "plan.toml").read_text() + '[privacy]\nkind = "local"\nepsilon = 8.0\n'
    )
    done = echofm("simulate", "private.toml", "--out", "none", "--tune", "2", cwd=home)
    assert done.returncode == 10 and "Traceback" not in done.stderr
    assert "spends privacy, which a study does not add up" in " ".join(done.stderr.split())
    assert not (home / "none").exists()
