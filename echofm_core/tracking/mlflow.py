"""MLflow: one MLflow run for each run folder, also over restarts.

The store is that of ``MLFLOW_TRACKING_URI``, else an SQLite file in the run folder: MLflow 3.13
gave up plain files. Which MLflow run is ours says a tag with a key that the run folder keeps, so
that neither a URI nor an id of another server need be stored. Only :class:`MlflowClient` is used:
MLflow's other interface also records the user's name, the command line and the source's path.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echofm_core import __version__
from echofm_core.plan.document import Plan
from echofm_core.runtime.files import write_whole
from echofm_core.tracking._api import TrackedRound
from echofm_core.tracking.redaction import split_credentials

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

#: Where the run folder keeps its key, and where the local store is.
KEY, STORE = "mlflow.json", "mlruns"
#: Tag by which a run folder finds its MLflow run.
TAG = "echofm.key"
#: Tag that tells the models of an experiment apart.
ARM = "echofm.arm"
#: Most parameters that MLflow takes at once, and their longest text.
PARAMS_AT_ONCE, LONGEST = 100, 500
#: MLflow must send nothing about a hospital's network; and a run must not wait for a server that
#: is down, which with MLflow's defaults takes minutes.
FORCED = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}

#: Runs of one process may make the same local store at the same time.
_MAKING = threading.Lock()


class Mlflow:
    """Metrics, a step a round, and the plan as parameters. See :class:`Tracker`.

    Args:
        folder: Run folder; keeps the key.
        store: Folder for the local store, which several runs may share.
        plan: Becomes parameters, without the table ``machine``.
        arm: Which model of an experiment this is; a tag.
    """

    def __init__(self, folder: Path, store: Path, plan: Plan, arm: str) -> None:
        self._steps: dict[str, set[int]] = {}
        with _MAKING if _is_local() else nullcontext():
            self._client = _client(store)
            experiment = _experiment(self._client, plan.name, store)
            key = _key(folder)
            found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{key}'", max_results=1)
            self._run = found[0].info.run_id if found else self._begin(experiment, plan, key, arm)
        if found:
            self._client.update_run(self._run, status="RUNNING")

    def add(self, round_: TrackedRound) -> None:
        """Log what has no step of this number yet, all at once."""
        from mlflow.entities import Metric

        now = time.time_ns() // 10**6
        missing = [
            Metric(name, value, now, round_.round)
            for name, value in round_.series().items()
            if round_.round not in self._steps_of(name)
        ]
        if not missing:
            return
        self._client.log_batch(self._run, metrics=missing)
        for metric in missing:
            self._steps[metric.key].add(round_.round)

    def close(self, *, finished: bool) -> None:
        """Say how the run ended; gone on with, it is running again."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "FAILED")

    def _steps_of(self, name: str) -> set[int]:
        if name not in self._steps:
            history = self._client.get_metric_history(self._run, name)
            self._steps[name] = {metric.step for metric in history}
        return self._steps[name]

    def _begin(self, experiment: str, plan: Plan, key: str, arm: str) -> str:
        """A new MLflow run, with the plan; its id."""
        from mlflow.entities import Param

        tags = {"echofm.plan_hash": plan.digest(), "echofm.version": __version__}
        tags |= {TAG: key, ARM: arm}
        created = self._client.create_run(experiment, tags=tags, run_name=f"{plan.name} {arm}")
        run: str = created.info.run_id
        params = [Param(name, text[:LONGEST]) for name, text in flat(plan.decisive()).items()]
        for start in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(run, params=params[start : start + PARAMS_AT_ONCE])
        return run


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested tables as ``table.key`` -> JSON of the value; strings as they are."""
    rows: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            rows |= flat(value, f"{above}{key}.")
        else:
            rows[f"{above}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return rows


def _client(store: Path) -> MlflowClient:
    os.environ.update(FORCED)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow", "alembic"):  # of making tables
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=_uri(store))


def _uri(store: Path) -> str:
    """The store's address. A password in that of a server goes where MLflow keeps it to itself."""
    if _is_local():
        store.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{(store / 'mlflow.db').resolve()}"
    address = os.environ["MLFLOW_TRACKING_URI"]
    if not address.startswith(("http://", "https://")):
        return address
    uri, user, password = split_credentials(address)
    if user:
        os.environ["MLFLOW_TRACKING_USERNAME"] = user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = password
    return uri


def _is_local() -> bool:
    return not os.environ.get("MLFLOW_TRACKING_URI")


def _experiment(client: MlflowClient, plan_name: str, store: Path) -> str:
    """Id of ``MLFLOW_EXPERIMENT_NAME``, else of the experiment named as the plan; may be new."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or plan_name
    artifacts = (store / "artifacts").resolve().as_uri() if _is_local() else None
    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:  # another run made it just now
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    return str(found.experiment_id)


def _key(folder: Path) -> str:
    """Random name of this run folder, made when it is first asked for."""
    path = folder / KEY
    if not path.exists():
        write_whole(path, json.dumps({"key": uuid.uuid4().hex}).encode())
    return str(json.loads(path.read_text(encoding="utf-8"))["key"])
