from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.tracking import listener


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's MLflow settings, nothing of the test's left behind, all said anew."""
    for name in (
        "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
    ):  # fmt: skip
        monkeypatch.setenv(name, "")  # so that it is put back, even where the code sets it
    monkeypatch.setattr(listener, "_reported", set())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An empty run folder."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"
