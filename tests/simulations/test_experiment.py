"""`echofm simulate` as a user runs it: real files, real processes, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.live.record import live_run
from echofm_core.phantom.institutions import Layout
from echofm_core.plan.load import load_plan
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.sessions import Sessions
from server.ending import FederationResult
from simulations import experiment
from simulations.arm_training import Training
from simulations.arms import Arm, plan_arms
from simulations.experiment import _train, _trained, run_experiment
from simulations.few_shot import FewShot, plan_shots
from tests.simulations.test_few_shot import manifest, plan_for
from tests.support.commands import ECHOFM, Echofm
from tests.support.forks import Fork, Forks
from tests.support.phantoms import Phantoms

PLAN = """
name = "small"
seed = 3
[data]
size = 32
frames = 8
test_windows = 1
[model]
patch = 16
[pretrain]
rounds = 1
[finetune]
rounds = 2
local_steps = 1
batch_size = 4
keep_optimizer = true
[evaluation]
bootstrap = 100
baselines = ["local", "pooled", "leave_one_out"]
[machine]
roots = ["data"]
"""
#: What DESIGN.md promises of a run folder, and what the experiment adds.
PROMISED = {
    "plan.toml", "journal", "checkpoints", "metrics.parquet", "predictions", "report.html",
    "model", "scores.parquet", "sites.parquet", "findings.parquet", "summary.json",
}  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three small institutions and a plan."""
    home = tmp_path_factory.mktemp("home")
    patients = {Layout.ECHONET_DYNAMIC: 16, Layout.CAMUS: 8, Layout.TMED2: 8}
    phantoms.institutions(home / "data", patients, seed=5)
    (home / "plan.toml").write_text(PLAN, encoding="utf-8")
    return home


@dataclass(frozen=True)
class Command:
    """A running ``echofm simulate``, and the file that all it says goes to."""

    process: Fork
    log: Path

    def end(self) -> str:
        """What it said when it has ended well."""
        code = self.process.wait(300)
        assert code == 0, self.log.read_text()
        return self.log.read_text()


def start(forks: Forks, home: Path, run: str, *options: str, plan: str = "plan.toml") -> Command:
    log = home / f"{run}.{'.'.join(options)}.log"
    log.touch()
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    words = ["simulate", plan, "--out", run, *options]
    return Command(forks.start(ECHOFM, *words, cwd=home, out=log, env=env), log)


@pytest.fixture(scope="module")
def whole(forks: Forks, home: Path) -> str:
    """What an uninterrupted run prints."""
    return start(forks, home, "whole").end()


def digest(home: Path, run: str) -> str:
    return str(json.loads((home / run / "summary.json").read_text())["digest"])


def test_run_leaves_what_is_promised(home: Path, whole: str) -> None:
    assert {path.name for path in (home / "whole").iterdir()} >= PROMISED
    assert digest(home, "whole") in whole.replace("\n", "")
    scores = pd.read_parquet(home / "whole" / "scores.parquet")
    assert set(scores["model"]) == {
        "federated", "pooled", "leave_one_out",
        "local:camus", "local:echonet_dynamic", "local:tmed2", "no_network",
    }  # fmt: skip


def test_the_floor_is_asked_of_the_patients_that_the_federation_is_tested_on(
    home: Path, whole: str
) -> None:
    """Ridge without a network at each site with five training patients who have a label."""
    folder = home / "whole" / "predictions"
    floor, ours = (
        pd.read_parquet(folder / f"{name}.parquet") for name in ("no_network", "federated")
    )
    keys = ["site", "task", "clip_id", "truth"]
    assert set(floor["model"]) == {"no_network"}
    assert {("camus", "ef"), ("echonet_dynamic", "edv")} <= set(zip(floor["site"], floor["task"]))  # noqa: B905
    shared = ours.merge(floor[["site", "task"]].drop_duplicates(), on=["site", "task"])
    assert set(map(tuple, floor[keys].to_numpy())) == set(map(tuple, shared[keys].to_numpy()))


def test_every_model_trains_on_the_same_share_of_labelled_patients(
    forks: Forks, home: Path
) -> None:
    """A quarter of each site's, at least one; pooled data train on the clips of all sites."""
    plan = PLAN.replace("rounds = 1", "rounds = 0").replace(', "leave_one_out"', "")
    plan = plan.replace("rounds = 2", "rounds = 1\nlabel_fraction = 0.25")
    (home / "few.toml").write_text(plan, encoding="utf-8")
    printed = start(forks, home, "few", plan="few.toml").end()
    clips, kept = {}, {}
    for site in ("camus", "echonet_dynamic", "tmed2"):
        rows = pd.read_parquet(home / f"few/manifests/{site}.parquet")
        rows = rows[(rows["split"] == "train") & (rows["ef"].notna() | rows["as_grade"].notna())]
        patients = rows["patient_id"].nunique()
        kept[site] = max(1, round(patients / 4))
        # Two cines a patient of CAMUS, one of EchoNet-Dynamic; TMED-2 has a few images each.
        entry = json.loads((home / "few/journal/finetune-0001.json").read_text())
        clips[site] = entry["sites"][site]["counts"]["encoder"]
        assert len(rows) * 0.1 < clips[site] < len(rows) * 0.5
        alone = home / f"few/baselines/local-{site}/journal/finetune-0001.json"
        assert json.loads(alone.read_text())["sites"][site]["counts"]["encoder"] == clips[site]
        expected = f"{kept[site]} of {patients} at {site}"
        assert expected in json.loads((home / "few/summary.json").read_text())["notes"][-1]
    assert clips["echonet_dynamic"] == kept["echonet_dynamic"]
    pooled = json.loads((home / "few/baselines/pooled/journal/finetune-0001.json").read_text())
    (only,) = pooled["sites"].values()
    assert only["counts"]["encoder"] == sum(clips.values())
    table = pd.read_parquet(home / "few/sites.parquet")
    train = table[table["split"] == "train"].set_index("site")
    for site in ("camus", "echonet_dynamic"):  # all clips there are labelled
        assert train.loc[site, ["clips", "ef"]].tolist() == [clips[site], clips[site]]
        assert train.loc[site, "patients"] == kept[site]
    assert "finetune.label_fraction is 0.25" in " ".join(printed.split())


def test_a_mask_that_leaves_little_is_warned_of_before_training(home: Path, whole: str) -> None:
    """2 x 2 positions, three of them in the sector, two hidden."""
    expected = "pretrain.mask_ratio = 0.85 leaves the encoder about 1 of 2 x 2 positions"
    words = " ".join(whole.split())
    assert words.index(f"warning: {expected}") < words.index("round 1/")
    assert words.count(expected) == 1
    assert json.loads((home / "whole/summary.json").read_text())["notes"][0].startswith(expected)


def test_a_warning_is_printed_once_and_stands_in_the_report(home: Path, whole: str) -> None:
    """Two rounds of one step of four windows: EchoNet-Dynamic trains on more than eight clips."""
    expected = [line.strip() for line in whole.splitlines() if "so that some never count" in line]
    (sentence,) = [line for line in expected if "echonet_dynamic" in line]
    assert sentence.startswith("echonet_dynamic: sees 8 windows in 2 rounds")
    assert sentence in json.loads((home / "whole/summary.json").read_text())["notes"]


def test_killed_and_resumed_with_two_workers_gives_the_same_model(
    forks: Forks, home: Path, whole: str
) -> None:
    command = start(forks, home, "killed")
    while "finetune round 1/2" not in command.log.read_text():
        assert command.process.poll() is None, "the run ended before its first fine-tuning round"
        time.sleep(0.01)
    command.process.kill()
    assert command.process.wait(10) == -signal.SIGKILL
    assert not (home / "killed" / "report.html").exists()
    output = start(forks, home, "killed", "--resume", "--workers", "2").end()
    assert "from the journal" in output
    assert digest(home, "killed") == digest(home, "whole")
    columns = ["model", "site", "task", "metric"]
    first, second = (
        pd.read_parquet(home / run / "scores.parquet").sort_values(columns).reset_index(drop=True)
        for run in ("whole", "killed")
    )
    pd.testing.assert_frame_equal(first, second)


def test_a_finished_run_is_not_overwritten(echofm: Echofm, home: Path, whole: str) -> None:
    done = echofm("simulate", "plan.toml", "--out", "whole", cwd=home)
    assert done.returncode > 0
    assert "--resume" in done.stderr and "Traceback" not in done.stderr


def test_a_reference_model_that_diverges_is_left_out_and_the_run_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CAMUS alone; EchoNet-Dynamic's own model, and the federation, have their rows."""
    monkeypatch.chdir(home)
    words = PLAN.replace("[pretrain]\nrounds = 1", "[pretrain]\nrounds = 0")
    words = words.replace('["local", "pooled", "leave_one_out"]', '["local"]')
    words = words.replace("keep_optimizer = true", 'keep_optimizer = true\ntasks = ["ef"]')
    (home / "lost.toml").write_text(words, encoding="utf-8")
    fit = Training.fit

    def diverge(training: Training, arm: Arm, *rest: Any) -> FederationResult:
        if arm.name == "local:camus":
            raise DIVERGED
        return fit(training, arm, *rest)

    monkeypatch.setattr(Training, "fit", diverge)
    outcome = run_experiment(load_plan(home / "lost.toml"), home / "lost")
    rows = outcome.scores
    models = set(rows["model"])
    assert "local:echonet_dynamic" in models and "local:camus" not in models
    assert {"echonet_dynamic", "camus"} <= set(rows.loc[rows["model"] == "federated", "site"])
    note = "local:camus is left out: its training diverged"
    assert note in (home / "lost/report.html").read_text(encoding="utf-8")
    assert any(line.startswith(note) for line in outcome.notes)


DIVERGED = FederationError("no update", {"camus": "DivergedError: inf"}, {"camus": 28})


@pytest.mark.parametrize(
    ("name", "error"),
    [("federated", DIVERGED), ("local:camus", FederationError("no update", {"camus": "away"}))],
)
def test_a_federation_that_diverges_and_what_fails_otherwise_end_the_run(
    tmp_path: Path, name: str, error: FederationError
) -> None:
    failed = Future[FederationResult]()
    failed.set_exception(error)
    with live_run(tmp_path, {}) as live, pytest.raises(FederationError, match="no update"):
        _trained({name: failed}, live)


def test_what_begins_with_a_model_that_diverged_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The federation without B, with its own few-shot models, and 4 patients of A; no more."""

    def train(training: Training, arm: Arm, *_: object) -> Any:
        if arm.name == "without:B":
            raise DIVERGED
        return SimpleNamespace(weights={})

    def tune(training: Training, few: FewShot, *_: object) -> None:
        assert few.site != "B"
        if (few.site, few.shots) == ("A", 4):
            raise DIVERGED

    monkeypatch.setattr(Training, "train", train)
    monkeypatch.setattr(experiment, "train_shots", tune)
    plan = plan_for([0, 2, 4])
    arms, _ = plan_arms(manifest(), plan)
    shots, _ = plan_shots(manifest(), plan, arms)
    assert {(few.site, few.shots) for few in shots} == {(s, n) for s in "ABC" for n in (0, 2, 4)}
    prepared = Prepared(manifest=manifest(), findings=Findings(), stores=tmp_path)
    with live_run(tmp_path, {}) as live:
        live.expect("federated", "without:B", "shots:A:4")
        _, left, notes = _train(
            plan, tmp_path, prepared, arms, shots, Sessions(tmp_path), live, False
        )
        with live.change() as record:
            assert list(record.models) == ["federated"]
    assert [(few.site, few.shots) for few in left] == [
        ("A", 0), ("A", 2), ("C", 0), ("C", 2), ("C", 4)
    ]  # fmt: skip
    assert [note.partition(" is left out")[0] for note in notes] == ["without:B", "shots:A:4"]
