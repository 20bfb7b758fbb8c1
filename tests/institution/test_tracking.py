"""Rounds of one institution in its trackers: those of the ledger, each once, over interruptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import Phase
from echofm_core.institution.data import prepare
from echofm_core.institution.run_folder import RoundEntry, RunFolder
from echofm_core.institution.training import train
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from tests.institution.conftest import PLAN
from tests.tracking.read import Curves, mlflow_curves, mlflow_runs, tensorboard_curves


class StopHereError(Exception):
    pass


@pytest.fixture
def plan(home: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (home / "plan.toml").write_text(PLAN + 'track = ["tensorboard", "mlflow"]\n')
    return load_plan(home / "plan.toml")


def go(plan: Plan, home: Path, last: int) -> list[RoundEntry]:
    """Begin or go on, and stop as if killed after the entry of a round, before anybody heard."""
    data = prepare(plan, home / "cache")
    run = RunFolder.claim(home / "run", Phase.FINETUNE, plan, "", True)

    def stop(entry: RoundEntry) -> None:
        if entry.round == last:
            raise StopHereError

    train(plan, data, run, on_round=stop)
    return run.entries()


@pytest.mark.slow
def test_every_round_once_and_as_in_the_ledger(home: Path, plan: Plan) -> None:
    """Stopped after rounds 1 and 3. What TensorBoard got of round 3 is cut away, as by a kill
    between the ledger and the tracker: it has float32, MLflow float64."""
    for last in (1, 3):
        with pytest.raises(StopHereError):
            go(plan, home, last)
    newest = sorted((home / "run/tensorboard").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-30])
    entries = go(plan, home, last=99)
    assert [entry.round for entry in entries] == [1, 2, 3, 4]
    expected: Curves = {
        f"finetune/{name}": [(entry.round, entry.metrics[name]) for entry in entries]
        for name in entries[0].metrics
    }
    told = {"loss", "loss/ef", "validation", "learning_rate", "seconds"}
    assert {f"finetune/{name}" for name in told} < expected.keys()
    short = {
        name: [(step, float(np.float32(value))) for step, value in curve]
        for name, curve in expected.items()
    }
    assert tensorboard_curves(home / "run") == short
    uri = f"sqlite:///{home}/run/mlruns/mlflow.db"
    (found,) = mlflow_runs(uri)
    assert mlflow_curves(uri, found) == expected
    assert found.info.status == "FINISHED"
    _holds_nothing_of_the_data(home)


def _holds_nothing_of_the_data(home: Path) -> None:
    """No name of a file (these are patients here), nor where the data lie."""
    files = list((home / "run/tensorboard").iterdir())
    files += [home / "run/mlflow.json", home / "run/mlruns/mlflow.db"]
    for path in files:
        content = path.read_bytes()
        places = [str(home / name).encode() for name in ("data", "cache")]
        assert not [word for word in (b"0X10", b"0X19", b".avi", *places) if word in content]
