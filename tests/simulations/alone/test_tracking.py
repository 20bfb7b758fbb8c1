"""Rounds of one institution in its trackers: those of the ledger, each once, over interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from server.events import Event
from tests.simulations.alone.conftest import PLAN
from tests.simulations.alone.runs import entries, prepared_at, train
from tests.tracking.read import Curves, mlflow_curves, mlflow_runs, tensorboard_curves


class StopHereError(Exception):
    pass


@pytest.fixture
def plan(home: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (home / "plan.toml").write_text(PLAN + 'track = ["tensorboard", "mlflow"]\n')
    return load_plan(home / "plan.toml")


def go(plan: Plan, home: Path, last: int) -> list[dict[str, Any]]:
    """Begin or go on, and stop as if killed after the entry of a round, before anybody heard."""

    def stop(event: Event) -> None:
        if event.round_done and event.round == last:
            raise StopHereError

    train(plan, prepared_at(plan, home / "cache"), home / "run", on_event=stop)
    return entries(home / "run")


@pytest.mark.slow
def test_every_round_once_and_as_in_the_ledger(home: Path, plan: Plan) -> None:
    """Stopped after rounds 1 and 3. What TensorBoard got of round 3 is cut away, as by a kill
    between the ledger and the tracker: it has float32, MLflow float64."""
    for last in (1, 3):
        with pytest.raises(StopHereError):
            go(plan, home, last)
    newest = sorted((home / "run/tensorboard").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-30])
    found = go(plan, home, last=99)
    assert [entry["round"] for entry in found] == [1, 2, 3, 4]
    expected: Curves = {}
    for entry in found:
        (part,), (loss,) = entry["sites"].values(), entry["validation"].values()
        metrics = {**part["metrics"], "slowest_site_seconds": part["metrics"]["seconds"]}
        metrics |= {"seconds": entry["seconds"], "validation": loss, "sites": 1, "refused": 0}
        metrics |= {"clips": max(part["counts"].values())}
        del metrics["num-examples"]  # no plain name: it is not shown
        for name, value in metrics.items():
            expected.setdefault(f"finetune/{name}", []).append((entry["round"], value))
    told = {"loss", "loss/ef", "validation", "learning_rate", "seconds"}
    assert {f"finetune/{name}" for name in told} < expected.keys()
    short = {
        name: [(step, float(np.float32(value))) for step, value in curve]
        for name, curve in expected.items()
    }
    assert tensorboard_curves(home / "run") == short
    uri = f"sqlite:///{home}/run/mlruns/mlflow.db"
    (run,) = mlflow_runs(uri)
    assert mlflow_curves(uri, run) == expected
    assert run.info.status == "FINISHED"
    _holds_nothing_of_the_data(home)


def _holds_nothing_of_the_data(home: Path) -> None:
    """No name of a file (these are patients here), nor where the data lie."""
    files = list((home / "run/tensorboard").iterdir())
    files += [home / "run/mlflow.json", home / "run/mlruns/mlflow.db"]
    for path in files:
        content = path.read_bytes()
        places = [str(home / name).encode() for name in ("data", "cache")]
        assert not [word for word in (b"0X10", b"0X19", b".avi", *places) if word in content]
