"""A hospital's machine that dies in a round, and comes back: real Flower processes."""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tomli_w

from client.launch import command, environment
from echofm_core.runtime.child_process import tool
from server.kit import Kit
from server.launch import start, stop, superlink
from server.members import register
from server.provision import provision
from server.submit import submit
from tests.federation.small import small_plan
from tests.federation.test_deployment import free_ports
from tests.support.hospitals import hospital, joined

pytestmark = [pytest.mark.slow, pytest.mark.deployed, pytest.mark.timeout(420)]

#: Seconds that a dead site may cost, once a run.
PROMISE = 90.0
#: The toy app of the second trains its first round for ever.
NAMES = ("alpha", "hangs")


def node(kit: Kit, name: str, port: int, server: int) -> subprocess.Popen[bytes]:
    """Start a site's SuperNode alone: our launcher would refuse the toy app's bundle."""
    folder = hospital(kit, name)
    settings = {"name": name, "server": f"127.0.0.1:{server}"}
    paths = dict.fromkeys(("manifest", "store", "state"), "none")
    (folder / "site.toml").write_text(tomli_w.dumps({**settings, **paths}))
    words = command(folder, port)
    ours = words.index("--isolation")  # and its value, the launcher's secret, and its file
    alone = [tool("flower-supernode"), *words[ours + 4 :]]
    return start(alone, environment(folder), folder / "node.log")


def test_a_machine_that_dies_costs_one_round_little_and_is_let_back_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline is an hour. It is killed in round 1, and started again when that is over."""
    monkeypatch.setenv("FLWR_SUPEREXEC_TASK_POLL_INTERVAL", "0.5")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # where the toy app is
    port, *ports = free_ports(3)
    kit = joined(provision(tmp_path / "fed", "127.0.0.1", port)[0], *NAMES)
    bundle = kit.bundle / "pyproject.toml"
    bundle.write_text(bundle.read_text().replace("client.app:app", "tests.federation.toy:app"))
    plan = small_plan(pretrain={"rounds": 4}, finetune={"rounds": 0})
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    lines: list[str] = []
    training = hospital(kit, NAMES[1]) / "training"
    monkeypatch.setenv("TOY_TRAINING", str(training))
    with superlink(kit, "127.0.0.1", port), ThreadPoolExecutor(1) as pool:
        register(kit)
        nodes = [node(kit, name, at, port) for name, at in zip(NAMES, ports, strict=True)]
        try:
            run = pool.submit(
                submit, kit, tmp_path / "plan.toml", tmp_path / "run", timeout=360,
                show=lines.append,
            )  # fmt: skip
            wait_for(lambda: training.exists() or run.done())
            root = psutil.Process(nodes[1].pid)
            for process in [root, *root.children(recursive=True)]:
                with suppress(psutil.Error):  # ended with its parent
                    process.kill()
            killed = time.monotonic()
            wait_for(lambda: any("round 1/4" in line for line in lines) or run.done())
            assert time.monotonic() - killed < PROMISE, lines
            nodes.append(node(kit, NAMES[1], ports[1], port))
            run.result(360)
        finally:
            stop(nodes)
    journal = sorted((tmp_path / "run" / "journal").iterdir())
    entries = [json.loads(path.read_text()) for path in journal]
    assert entries[0]["refused"][NAMES[1]].startswith("its node is gone since "), lines
    assert all(entry["seconds"] < PROMISE for entry in entries[1:]), lines
    assert set(entries[-1]["sites"]) == set(NAMES), lines


def wait_for(reached: object, seconds: float = 200.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)
