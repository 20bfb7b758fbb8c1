"""What a run's trackers hold, read by their own readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

if TYPE_CHECKING:  # a second to load, in whichever process merely collects the tests
    from mlflow.entities import Run

#: Curve -> (round, value) in the order in which they lie there.
Curves = dict[str, list[tuple[int, float]]]


def tensorboard_curves(run: Path) -> Curves:
    events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def mlflow_runs(uri: str) -> list[Run]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return list(client.search_runs([one.experiment_id for one in client.search_experiments()]))


def mlflow_curves(uri: str, run: Run) -> Curves:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
