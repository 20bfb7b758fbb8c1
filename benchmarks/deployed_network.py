"""A federation on loopback as it is deployed: SuperLink with TLS and node keys, and SuperNodes.

The sites reach the SuperLink through a relay that counts the bytes. SuperNodes are Flower's own
with their stock launcher, for ours and for the peer alike: ``echofm client start`` runs no bundle
but the product's.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tomli_w

from benchmarks.byte_counter import ByteCounter
from benchmarks.peers.deployed_arrays import shapes
from benchmarks.peers.deployed_server import ROUNDS
from client.enroll import enroll
from echofm_core.runtime.child_process import child_process, flower_environment, tool
from server.flower import ask, last_words
from server.kit import CONNECTION, Kit
from server.launch import superlink
from server.members import admit, nodes, register
from server.provision import provision

#: Seconds without a further round after which a run is given up.
PATIENCE = 900.0
MB = 2**20
HERE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What runs.

    Attributes:
        contestant: ``fp16``, ``fp32`` or ``flower``.
        sites, rounds: How many.
        width, depth: Of the arrays, those of a ViT.
    """

    contestant: str
    sites: int
    rounds: int
    width: int
    depth: int


@dataclass(slots=True)
class Rounds:
    """What each round took; lists have one figure a round.

    Attributes:
        seconds: From the end of the round before.
        megabytes: Between sites and SuperLink, both ways.
        cpu: CPU seconds of the ServerApp and the SuperLink together.
        resident: Memory of the ServerApp at the end of the round, MB.
        superlink: That of the SuperLink.
        peak: Most resident memory of the ServerApp, MB.
        lost: Updates that the journal does not have; of ours alone.
    """

    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    superlink: list[float] = field(default_factory=list)
    peak: float = 0.0
    lost: int = 0


def measure(case: Case) -> dict[str, Any]:
    """Run a case in a network of its own; the case, and figures as of :class:`Rounds`.

    Raises:
        RuntimeError: It did not come to its end.
    """
    # Apps are modules of this tree, wherever Flower starts them.
    os.environ["PYTHONPATH"] = str(HERE)
    with tempfile.TemporaryDirectory(prefix="echofm-deployment-") as scratch:
        folder = Path(scratch)
        with _network(folder, [f"site{number}" for number in range(case.sites)]) as network:
            found = _run(network, case, folder / "run")
        entries = [json.loads(path.read_text()) for path in (folder / "run").glob("journal/*.json")]
    if case.contestant != "flower":
        found.lost = case.sites * case.rounds - sum(len(entry["sites"]) for entry in entries)
    numbers = sum(_size(shape) for shape in shapes(case.width, case.depth).values())
    return {**asdict(case), "parameters": numbers, **asdict(found)}


@dataclass(frozen=True, slots=True)
class _Network:
    kit: Kit
    counter: ByteCounter
    superlink: psutil.Process


@contextmanager
def _network(folder: Path, names: Sequence[str]) -> Iterator[_Network]:
    """SuperLink and SuperNodes that run, for a block."""
    port, *node_ports = free_ports(1 + len(names))
    kit, _ = provision(folder / "fed", "127.0.0.1", port, local_port=port)
    for name in names:
        enroll(kit.handout, name, folder / name)
        admit(kit, name, str(folder / name / "node.pub"))
    with superlink(kit, "127.0.0.1", port) as processes, ByteCounter(port) as counter:
        register(kit)
        with ExitStack() as stack:
            for name, node_port in zip(names, node_ports, strict=True):
                home = folder / name / "flwr"
                home.mkdir()
                command = [
                    tool("flower-supernode"),
                    *("--superlink", f"127.0.0.1:{counter.port}"),
                    *("--root-certificates", str(folder / name / "ca.crt")),
                    *("--auth-supernode-private-key", str(folder / name / "node.key")),
                    *("--node-config", f'site="{name}"', "--port", str(node_port)),
                ]
                env = flower_environment(home)
                stack.enter_context(child_process(command, env, folder / f"{name}.log"))
            yield _Network(kit, counter, psutil.Process(processes[0].pid).children()[0])


def _run(network: _Network, case: Case, folder: Path) -> Rounds:
    """Submit a case and take its figures as its rounds end."""
    kit, found = network.kit, Rounds()
    sites = " ".join(f"{name}={node}" for name, node in nodes(kit).items())
    given = {**asdict(case), "sites": sites, "folder": str(folder)}
    bundle = kit.folder / "bundle" / "echofm-benchmark"
    bundle.mkdir()
    (bundle / "pyproject.toml").write_text(_BUNDLE, encoding="utf-8")
    words = " ".join(f"{key}={json.dumps(given[key])}" for key in _DEFAULTS)
    ask(kit, "run", str(bundle), CONNECTION, "-c", words)
    before, through, spent = 0.0, 0, 0.0
    for line in _lines(folder / ROUNDS):
        if "error" in line:
            logs = [*kit.folder.glob("*.log"), *kit.folder.parent.glob("*.log")]
            ends = "\n".join(f"{log.name}: {last_words(log)}" for log in logs)
            raise RuntimeError(f"{case} failed: {line['error']}\n{ends}")
        total, times = network.counter.total, network.superlink.cpu_times()
        cpu = line["cpu"] + times.user + times.system
        if line["round"]:
            found.seconds.append(round(line["time"] - before, 3))
            found.megabytes.append(round((total - through) / 1e6, 3))
            found.cpu.append(round(cpu - spent, 2))
            found.resident.append(round(line["resident"], 2))
            found.superlink.append(round(network.superlink.memory_info().rss / MB, 2))
            found.peak = round(line["peak"], 1)
        before, through, spent = line["time"], total, cpu
    return found


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Lines of a run as they come, until it is done; its end without a word is an error line."""
    read, last, process = 0, time.monotonic(), 0
    while True:
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0] if path.exists() else ""
        lines = whole.splitlines()
        for line in map(json.loads, lines[read:]):
            if "done" in line:
                return
            process, last = line.get("process", process), time.monotonic()
            yield line
        read = len(lines)
        if process and not psutil.pid_exists(process):
            yield {"error": "the ServerApp died"}
        if time.monotonic() - last > PATIENCE:
            yield {"error": f"no round ended for {PATIENCE:g} s"}
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]


def _size(shape: Sequence[int]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


#: Run config of the bundle.
_DEFAULTS = {"contestant": "", "rounds": 0, "width": 0, "depth": 0, "sites": "", "folder": ""}
#: It names the apps and holds no code.
_BUNDLE = tomli_w.dumps(
    {
        "project": {"name": "echofm-benchmark", "version": "1.0.0", "dependencies": []},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "echofm",
                    "components": {
                        "serverapp": "benchmarks.peers.deployed_server:app",
                        "clientapp": "benchmarks.peers.deployed_site:app",
                    },
                    "config": _DEFAULTS,
                }
            }
        },
    }
)
