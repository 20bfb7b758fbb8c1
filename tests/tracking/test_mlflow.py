"""An MLflow store, read back by MLflow's own client; and servers that do not answer."""

from __future__ import annotations

import base64
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from echofm_core.tracking.listener import Tracking
from echofm_core.tracking.mlflow import Mlflow, flat
from tests.tracking.made import finetune, plan, pretrain
from tests.tracking.read import mlflow_curves, mlflow_runs

PLAN = plan("mlflow")
PASSWORD = "p%40ss-word"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that a run without rounds began: making its tables takes seconds."""
    home = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        Mlflow(home, home / "mlruns", PLAN, "alone").close(finished=True)
    return home


@pytest.fixture
def uri(empty: Path, run: Path) -> str:
    """That store in the run folder."""
    shutil.copytree(empty, run, dirs_exist_ok=True)
    return f"sqlite:///{run / 'mlruns/mlflow.db'}"


def test_one_run_with_the_plan_and_every_round_once(run: Path, uri: str) -> None:
    """Over three processes' worth of openings: begun, interrupted, finished."""
    with pytest.raises(KeyboardInterrupt), Tracking(PLAN, run, arm="alone") as tracking:
        tracking.add(pretrain(1, loss=0.1, seconds=2.0))
        tracking.add(pretrain(1, loss=9.0, seconds=9.0))
        raise KeyboardInterrupt
    assert [one.info.status for one in mlflow_runs(uri)] == ["FAILED"]
    with Tracking(PLAN, run, arm="alone") as tracking:
        assert [one.info.status for one in mlflow_runs(uri)] == ["RUNNING"]
        tracking.add(pretrain(1, loss=0.1, seconds=2.0))
        tracking.add(pretrain(2, loss=0.05, seconds=2.5))
        tracking.add(finetune(1, loss=0.3))
    (found,) = mlflow_runs(uri)
    assert mlflow_curves(uri, found) == {
        "pretrain/loss": [(1, 0.1), (2, 0.05)],
        "pretrain/seconds": [(1, 2.0), (2, 2.5)],
        "finetune/loss": [(1, 0.3)],
    }
    assert found.info.status == "FINISHED" and found.info.run_name == "tracked alone"
    assert found.data.tags["echofm.plan_hash"] == PLAN.digest()
    assert found.data.params["pretrain.mask_ratio"] == "0.85"
    assert found.data.params["finetune.mode"] == "full"
    assert not [name for name in found.data.params if name.startswith("machine")]
    assert found.info.user_id == "unknown"


def test_runs_of_one_experiment_share_a_store(run: Path, uri: str) -> None:
    for arm in ("federated", "pooled"):
        with Tracking(PLAN, run / arm, arm=arm, store=run / "mlruns") as tracking:
            tracking.add(finetune(1, loss=1.0 if arm == "pooled" else 2.0))
    found = {one.data.tags["echofm.arm"]: one.data.metrics for one in mlflow_runs(uri)}
    assert found == {
        "alone": {}, "pooled": {"finetune/loss": 1.0}, "federated": {"finetune/loss": 2.0},
    }  # fmt: skip


def test_a_store_that_breaks_midway_is_one_sentence_and_no_more(
    run: Path, uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracking(PLAN, run, arm="alone") as tracking:
        tracking.add(finetune(1, loss=1.0))
        (run / "mlruns/mlflow.db").write_bytes(b"no database" * 1000)
        for number in (2, 3):
            tracking.add(finetune(number, loss=1.0))
    said = capsys.readouterr().err
    assert said.count("echofm: mlflow does not take this run's rounds (MlflowException: ") == 1
    assert "not a database" in said


def test_a_server_that_is_down_is_one_sentence_without_the_password(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:{PASSWORD}@127.0.0.1:{port}")
    for arm in ("federated", "pooled"):
        with Tracking(PLAN, run / arm, arm=arm, store=run / "mlruns") as tracking:
            tracking.add(finetune(1, loss=1.0))
    out, said = capfd.readouterr()
    assert out == "" and said.count("echofm: mlflow does not take") == 1
    assert f"127.0.0.1:{port}" in said or f"port={port}" in said
    _nowhere(said, run)


def test_a_server_gets_the_password_and_nobody_else_does(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real server that knows the user, and answers all else with its request for a log."""
    with _server() as (port, asked):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://anna:{PASSWORD}@127.0.0.1:{port}")
        with Tracking(PLAN, run, arm="alone") as tracking:
            tracking.add(finetune(1, loss=1.0))
    assert set(asked) == {"Basic " + base64.b64encode(b"anna:p@ss-word").decode()}
    out, said = capfd.readouterr()
    assert "anna was here with ***" in said
    _nowhere(out + said, run)


def _nowhere(said: str, run: Path) -> None:
    """Neither printed nor kept, in no form."""
    for secret in (PASSWORD, "p@ss-word", base64.b64encode(b"anna:p@ss-word").decode()):
        assert secret not in said
        for path in run.rglob("*"):
            assert path.is_dir() or secret.encode() not in path.read_bytes()


@contextmanager
def _server() -> Iterator[tuple[int, list[str]]]:
    """Its port, and the credentials that it was shown."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers["Authorization"]))
            answer = b"anna was here with p@ss-word"
            self.send_response(403)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, asked
        server.shutdown()


def test_tables_become_parameters_by_their_full_names() -> None:
    values = {"a": 1, "b": {"c": "x", "d": {"e": [1, 2]}, "f": {}}, "g": None}
    assert flat(values) == {"a": "1", "b.c": "x", "b.d.e": "[1, 2]", "b.f": "{}", "g": "null"}
