from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.runtime.errors import EnvironmentClashError, PlanError
from echofm_core.tracking import listener
from echofm_core.tracking.config import TrackerName
from tests.tracking.made import finetune, plan
from tests.tracking.read import tensorboard_curves


def test_a_missing_extra_is_one_sentence_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(listener.NEEDED, TrackerName.TENSORBOARD, ("tensorboard_that_is_not",))
    listener.require_trackers(plan("mlflow").machine.track)
    with pytest.raises(EnvironmentClashError) as error:
        listener.require_trackers(plan("mlflow", "tensorboard").machine.track)
    assert str(error.value) == (
        'machine.track names "tensorboard", which needs the package tensorboard_that_is_not; '
        "pip install 'tensorboard>=2.17', or take it out of the plan."
    )


def test_an_unknown_tracker_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"machine\.track`: 'wandb' is none of tensorboard, mlflow"):
        plan("wandb")


def test_trackers_do_not_change_the_plan() -> None:
    assert plan("mlflow", "tensorboard").digest() == plan().digest()


def test_without_trackers_nothing_is_written(run: Path) -> None:
    with listener.Tracking(plan(), run, arm="alone") as tracking:
        tracking.add(finetune(1, loss=1.0))
    assert not list(run.iterdir())


def test_one_that_fails_does_not_harm_the_other(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow gave up plain folders as stores, and says so."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(run / "folder"))
    with listener.Tracking(plan("mlflow", "tensorboard"), run, arm="alone") as tracking:
        tracking.add(finetune(1, loss=1.0))
    assert tensorboard_curves(run) == {"finetune/loss": [(1, 1.0)]}
    said = capsys.readouterr().err
    assert said.startswith("echofm: mlflow does not take") and "sqlite:///mlflow.db" in said
