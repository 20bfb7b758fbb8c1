"""Seconds from a kill to training again, by the commands that hospitals and coordinator use.

Two sites of SYNTHETIC patients train a tiny model between real processes. Killed (SIGKILL) in the
middle of training are: the process that trains at one site; the SuperNode of the other; and the
ServerApp, whose `echofm server run` is then called again with --resume. Training goes on where a
process that was started after the kill has taken optimizer steps: at the site that was hit, after
the kill of the ServerApp at both.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import psutil
import tomli_w

from benchmarks.deployed_network import HERE, free_ports
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.child_process import child_process, tool

SITES = ("north", "south")
PATIENTS = 24
#: What trains at a site: the launcher of `echofm client start`'s own, or Flower's.
TRAINERS = ("client.run_clientapp", "flwr-clientapp")
#: Seconds after which training that has not gone on is taken for ended.
PATIENCE = 300.0
PLAN = {
    "name": "recovery",
    "data": {"size": 32, "frames": 4, "test_windows": 1},
    "model": {"size": "tiny"},
    "pretrain": {"rounds": 500, "batch_size": 4, "local_steps": 150},
    "finetune": {"rounds": 0},
}

Found = TypeVar("Found")


def measure() -> dict[str, dict[str, float | None]]:
    """Who was killed -> seconds until training again; None where it did not go on."""
    with tempfile.TemporaryDirectory(prefix="echofm-recovery-") as scratch, ExitStack() as stack:
        federation = Federation(Path(scratch), stack)
        run = federation.run()
        north, south = SITES
        seconds = {}
        federation.settle()
        seconds["client app"] = federation.kill(federation.trainer(north), (north,))
        federation.settle()
        node = federation.process(south, "flower-supernode")
        seconds["SuperNode"] = federation.kill(node, (south,))
        federation.settle()

        def resume() -> None:
            run.wait(PATIENCE)  # it sees that its ServerApp died, and ends
            federation.run("--resume")

        app = federation.process("server", "flwr-serverapp")
        seconds["server app"] = federation.kill(app, SITES, resume)
        return {"seconds": seconds}


class Federation:
    """Coordinator and hospitals of one folder, as commands.

    Args:
        folder: New.
        stack: Ends what is started.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.fed, self.plan = folder, folder / "fed", folder / "plan.toml"
        self.stack = stack
        self.env = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        self.commands: dict[str, subprocess.Popen[bytes]] = {}
        port, *node_ports = free_ports(1 + len(SITES))
        self.plan.write_text(plan_from_mapping(PLAN, "benchmark").to_toml(), encoding="utf-8")
        own = ("--host", "127.0.0.1", "--port", port, "--local-port", port)
        self.call("server", "provision", self.fed, *own)
        self.call("server", "propose", self.fed, self.plan)
        for number, site in enumerate(SITES):
            self.join(site, number)
        self.begin("server", "server", "start", self.fed)
        self.wait("the server to start", lambda: "Ctrl-C stops it" in self.said("server"))
        for site, node_port in zip(SITES, node_ports, strict=True):
            self.begin(site, "client", "start", folder / site, "--port", node_port)

    def join(self, site: str, number: int) -> None:
        """Let a hospital with patients of its own be admitted, and approve the plan."""
        home, archive = self.folder / site, self.folder / f"{site}-archive"
        write_institutions(archive, {Layout.ECHONET_DYNAMIC: PATIENTS}, seed=number, errors=False)
        self.call("client", "init", self.fed / "kit", site, "--out", home)
        self.call("server", "admit", self.fed, site, home / "node.pub")
        manifest, stores = home / "manifest.parquet", home / "stores"
        self.call("data", "index", archive, "--out", manifest)
        self.call("data", "store", manifest, "--out", stores, "--plan", self.plan)
        settings = tomllib.loads((home / "site.toml").read_text(encoding="utf-8"))
        text = tomli_w.dumps(settings | {"device": "cpu", "save_every": 5})
        (home / "site.toml").write_text(text, encoding="utf-8")
        (proposed,) = (self.fed / "plans").glob("*.toml")
        self.call("client", "approve", home, proposed, "--yes")

    def call(self, *words: object) -> None:
        """Run a command to its end.

        Raises:
            RuntimeError: It failed.
        """
        command = [tool("echofm"), *map(str, words)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{said}")

    def begin(self, name: str, *words: object) -> subprocess.Popen[bytes]:
        """Start a command that stays; its output goes to a log of that name."""
        command = [tool("echofm"), *map(str, words)]
        running = child_process(command, self.env, self.folder / f"{name}.log")
        process = self.stack.enter_context(running)
        self.commands[name] = process
        return process

    def run(self, *options: str) -> subprocess.Popen[bytes]:
        """Run the plan on the sites, or go on with it."""
        words = ("server", "run", self.fed, self.plan, "--out", self.folder / "run", *options)
        return self.begin("run", *words)

    def settle(self) -> None:
        """Wait until a round that begins now has counted both sites."""
        entries = self.folder / "run" / "journal"
        begun = len(list(entries.glob("*.json")))

        def counted() -> bool:
            new = sorted(entries.glob("*.json"))[begun + 1 :]
            return any(set(SITES) <= set(_sites(path)) for path in new)

        self.wait("a round of both sites", counted)

    def trainer(self, site: str) -> psutil.Process:
        """The process that trains at a site, in the middle of it: not the one that waits for it."""
        return self.wait(f"training at {site}", lambda: self.training(site))[-1]

    def training(self, site: str, since: float = 0.0) -> list[psutil.Process]:
        """The process at a site, begun after a time, that has saved steps of its round."""
        saved = 0.0
        with suppress(FileNotFoundError):  # a round has just ended
            files = (self.folder / site / "state").rglob("progress/*.safetensors")
            saved = max((path.stat().st_mtime for path in files), default=0.0)
        processes = programs_below(self.commands[site].pid, *TRAINERS)
        return [item for item in processes if since < _begun(item) < saved]

    def process(self, command: str, program: str) -> psutil.Process:
        """The only process of a program below a command."""
        (found,) = programs_below(self.commands[command].pid, program)
        return found

    def kill(
        self,
        victim: psutil.Process,
        sites: Sequence[str],
        mend: Callable[[], object] = lambda: None,
    ) -> float | None:
        """Kill a process, do what a person has to, and wait until all of these sites train again.

        Returns:
            Seconds from the kill on; None where they do not in :data:`PATIENCE`.
        """
        for site in sites:
            self.trainer(site)
        os.kill(victim.pid, signal.SIGKILL)
        killed = time.time()
        mend()
        left = set(sites)
        while left and time.time() - killed < PATIENCE:
            left = {site for site in left if not self.training(site, since=killed)}
            time.sleep(0.05)
        return None if left else round(time.time() - killed, 1)

    def wait(self, what: str, reached: Callable[[], Found]) -> Found:
        """Wait until there is something, and return it.

        Raises:
            RuntimeError: It does not come, or a command that is to stay has ended.
        """
        deadline = time.monotonic() + PATIENCE
        while not (found := reached()):
            ended = [name for name, item in self.commands.items() if item.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = "\n".join(f"{name}: {self.said(name)[-1500:]}" for name in self.commands)
                raise RuntimeError(f"waited for {what} in vain; ended are {ended}\n{said}")
            time.sleep(0.1)
        return found

    def said(self, name: str) -> str:
        """What a command has printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


def programs_below(parent: int, *programs: str) -> list[psutil.Process]:
    """Running processes below one that run certain programs: a script's name, or a module's."""
    below = psutil.Process(parent).children(recursive=True)
    return [item for item in below if _program(item) in programs]


def _sites(entry: Path) -> list[str]:
    """Who counted in a round."""
    with suppress(OSError, ValueError):
        return list(json.loads(entry.read_text(encoding="utf-8"))["sites"])
    return []


def _begun(process: psutil.Process) -> float:
    """Unix time; never where it has ended."""
    try:
        return process.create_time()
    except psutil.NoSuchProcess:
        return math.inf


def _program(process: psutil.Process) -> str:
    """What Python runs in a process: the name of a script, or a module."""
    try:
        _, *words = process.cmdline()
    except (psutil.Error, ValueError):
        return ""
    return next((Path(word).name for word in words if not word.startswith("-")), "")
