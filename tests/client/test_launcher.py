"""A site's node: what its launcher starts for a message, and how SuperNode and launcher end.

The interface that the launcher asks is Flower's own, and the processes are real.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from flwr.app import Message, RecordDict
from flwr.cli.build import build_fab_from_files

from client import run_clientapp
from client.flower_private import TaskQueue, claimed_task
from client.launch import environment
from echofm_core.app_bundle import BUNDLE
from echofm_core.runtime import child_process
from echofm_core.runtime.chained_log import ChainedLog
from echofm_core.runtime.errors import EnvironmentClashError, FederationError
from simulations.flower_private import become_server
from tests.federation.foreign import ForeignApp
from tests.federation.test_deployment import free_ports
from tests.support.node_runtime import NodeRuntime, node_runtime

SECRET = b"s" * 32
#: Runs where a SuperNode would, until it is ended.
WAITS = [sys.executable, "-c", "import time; time.sleep(600)"]


@contextmanager
def launching(runtime: NodeRuntime, folder: Path) -> Iterator[None]:
    """The launcher's loop, beside a process that stands for the SuperNode's."""
    code = f"""
import subprocess
from client.flower_private import TaskQueue
from client.launcher import launch_tasks
node, address = subprocess.Popen({WAITS!r}), {runtime.address!r}
launch_tasks(node, TaskQueue(address, {SECRET!r}), address)
"""
    with child_process.child_process([sys.executable, "-c", code], environment(folder)):
        yield


def test_a_foreign_bundle_is_refused_and_the_next_message_answered(tmp_path: Path) -> None:
    """Whatever type of task the server makes of it; refusals stand in log and audit."""
    become_server()
    foreign, state = ForeignApp(tmp_path / "foreign"), tmp_path / "state"
    own = build_fab_from_files({"pyproject.toml": BUNDLE.encode()})[0]
    config = {"site": "alpha", "state": str(state)}
    (port,) = free_ports(1)
    with node_runtime(port, SECRET, config) as runtime, launching(runtime, tmp_path):
        replies = []
        for kind, content in (("flwr-agentapp", foreign.bundle()), ("flwr-clientapp", own)):
            runtime.ask(Message(RecordDict(), 5, "query.other"), content, kind)
            replies.append(runtime.reply())
    assert not foreign.mark.exists()
    refused, answered = (reply.error.reason for reply in replies)
    assert refused.startswith("error 27, reference ") and "refused the app bundle" in refused
    assert "error 70, reference " in answered  # the installed app has no such action
    first, second = ChainedLog(state / "audit.jsonl").records
    assert first["outcome"] == "refused" and first["sentence"] == refused
    assert second["sentence"] == answered
    assert "BundleError" in (state / "site.log").read_text()


def test_a_killed_worker_is_answered_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers the message is killed in its fork; Flower itself would wait for 36 s or more."""
    state, (port,) = tmp_path / "state", free_ports(1)
    monkeypatch.setattr(run_clientapp, "answer", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with node_runtime(port, SECRET, {"site": "north", "state": str(state)}) as runtime:
        runtime.ask(Message(RecordDict(), 5, "query.describe"), b"any")
        with claimed_task(runtime.address, TaskQueue(runtime.address, SECRET).acquire()) as task:
            run_clientapp.serve(task)
        reply = runtime.reply(seconds=5)
    assert reply.error.reason.startswith("error 23, reference ")
    assert "died by SIGKILL" in reply.error.reason
    (line,) = ChainedLog(state / "audit.jsonl").records
    assert line["outcome"] == "refused" and line["sentence"] == reply.error.reason


def test_tasks_are_for_whoever_has_the_secret(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(OSError):
        TaskQueue(f"127.0.0.1:{port}", SECRET).acquire()
    with node_runtime(port, SECRET, {}) as runtime:
        assert TaskQueue(runtime.address, SECRET).acquire() == ""
        with pytest.raises(FederationError, match="answered with status 401; another program"):
            TaskQueue(runtime.address, b"guessed").acquire()


def test_a_flower_that_has_moved_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flwr.supernode.runtime.run_clientapp", None)
    with (
        pytest.raises(EnvironmentClashError, match=r"has no flwr\.supernode\.runtime"),
        claimed_task("127.0.0.1:1", "token"),
    ):
        pass


class Node:
    """A launcher with its SuperNode, under the supervisor that `echofm client start` has too."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        (port,) = free_ports(1)
        self.secret = folder / "launcher.secret"
        words = ["-P", "-m", "client.launcher", f"127.0.0.1:{port}", str(self.secret), *command]
        self.supervisor = child_process.start([sys.executable, *words], environment(folder))

    def below(self) -> tuple[psutil.Process, psutil.Process]:
        """The launcher, and its SuperNode."""
        deadline = time.monotonic() + 60
        supervisor = psutil.Process(self.supervisor.pid)
        while len(found := supervisor.children(recursive=True)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        launcher, node = found
        return launcher, node


def gone(*processes: psutil.Process) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=5)
    return not [item for item in alive if item.status() != psutil.STATUS_ZOMBIE]


def test_a_launcher_ends_with_its_supernode_and_has_a_secret_of_its_own(tmp_path: Path) -> None:
    read = "import sys, pathlib; sys.exit(len(pathlib.Path(sys.argv[1]).read_bytes()))"
    node = Node(tmp_path, [sys.executable, "-c", read, str(tmp_path / "launcher.secret")])
    assert node.supervisor.wait(60) == 32
    assert stat.S_IMODE(node.secret.stat().st_mode) == 0o600


@pytest.mark.parametrize("who", ["launcher", "supervisor"])
def test_a_supernode_does_not_outlive_what_started_it(tmp_path: Path, who: str) -> None:
    node = Node(tmp_path, WAITS)
    launcher, supernode = node.below()
    killed = {"launcher": launcher.pid, "supervisor": node.supervisor.pid}[who]
    os.kill(killed, signal.SIGKILL)
    code = node.supervisor.wait(10)
    assert gone(launcher, supernode)
    assert code == (137 if who == "launcher" else -9)
