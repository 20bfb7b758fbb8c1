"""A coordinator and three hospitals on machines of their own, to which things are done.

Each is a network namespace (``tests/support/machines.py``) with nginx in front of the coordinator;
all processes are those that users start, in their own sessions, found again by what they are.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import tomli_w

from benchmarks.faults_run import SITES, Command, FaultError, Submitted, until
from client.enroll import enroll
from echofm_core.plan.document import Plan
from server.kit import Kit
from server.members import admit, site_names
from server.provision import provision
from simulations.engine import SiteSettings
from tests.support.commands import ECHOFM
from tests.support.machines import MIDDLE, Machine, internet

TREE = Path(__file__).resolve().parents[1]
HOST = "fl.example.org"
COORDINATOR = "coordinator"


@dataclass
class World:
    """The federation; what a case breaks, :meth:`mend` mends before the next.

    Attributes:
        expected: Rounds -> digest of the weights that :func:`plan_of` gives where nothing happens.
    """

    folder: Path
    machines: Mapping[str, Machine]
    kit: Kit
    expected: Mapping[int, str] = field(default_factory=dict)
    server: Command | None = None
    clients: dict[str, Command] = field(default_factory=dict)
    count: int = 0

    @property
    def coordinator(self) -> Machine:
        """Its machine."""
        return self.machines[COORDINATOR]

    def site(self, name: str) -> Path:
        """A hospital's folder."""
        return self.machines[name].home / "site"

    def echofm(self, machine: Machine, *words: object, before: tuple[str, ...] = ()) -> Command:
        """Start a command on a machine; ``before``: programs that it is run by."""
        self.count += 1
        log = self.folder / f"{self.count:03d}-{machine.name}-{words[1]}.log"
        command = (*before, sys.executable, "-c", ECHOFM, *words)
        return Command(machine.start(*command, log=log), log)

    def proxy(self) -> None:
        """Start the coordinator's nginx."""
        line = f'mount -t tmpfs none /run && nginx -c "{self.kit.nginx}"'
        done = self.coordinator.run("sh", "-c", line)
        if done.returncode:
            raise FaultError(done.stderr)

    def serve(self) -> None:
        """See to it that nginx and SuperLink run."""
        if not self.find("nginx", self.coordinator):
            self.proxy()
        if self.server is None or self.server.process.poll() is not None:
            self.server = self.echofm(self.coordinator, "server", "start", self.kit.folder)
            self.server.wait_for("control and runtime do not answer there")

    def join(self, name: str, *, before: tuple[str, ...] = ()) -> Command:
        """Start a hospital's node."""
        started = self.echofm(
            self.machines[name], "client", "start", self.site(name), before=before
        )
        self.clients[name] = started
        return started

    def online(self) -> set[str]:
        """Sites whose nodes the SuperLink hears of."""
        asked = self.echofm(self.coordinator, "server", "status", self.kit.folder, "--json")
        if asked.end():
            return set()
        sites = json.loads(asked.said())["sites"]
        return {site["name"] for site in sites if site["state"] == "online"}

    def mend(self) -> None:
        """Start what does not run, plug in what is out, and wait until all sites are there."""
        for machine in self.machines.values():
            if machine.name != MIDDLE:
                machine.cable(plugged=True)
                machine.unthrottle()
        until(self._whole, "all sites online", 200, every=2.0)

    def _whole(self) -> bool:
        """Whether all sites are there; starts what has ended, perhaps a little after its like."""
        self.serve()
        for name in SITES:
            client = self.clients.get(name)
            if client is None or client.process.poll() is not None:
                self.join(name)
        return self.online() >= set(SITES)

    def submit(self, plan: Plan, *, resume: bool = False) -> Submitted:
        """Run a plan, or go on with it."""
        folder = self.coordinator.home / "runs" / plan.name
        path = self.coordinator.home / f"{plan.name}.toml"
        path.write_text(plan.to_toml())
        words = (self.kit.folder, path, "--out", folder, *(["--resume"] if resume else []))
        return Submitted(plan, folder, self.echofm(self.coordinator, "server", "run", *words))

    def find(self, role: str, machine: Machine) -> list[psutil.Process]:
        """Running processes of a role (:data:`ROLES`) on a machine."""
        found = []
        for process in machine.processes():
            with suppress(psutil.Error):
                words = process.cmdline()
                # One that is ending, or has just been started, has no words.
                ours = "echofm_core.runtime.child_process" in words
                if words and not ours and ROLES[role](words):
                    found.append(process)
        return found

    def kill(self, role: str, machine: Machine) -> None:
        """Kill -9 of all processes of a role, as soon as there is one."""
        until(lambda: self.find(role, machine), f"a {role} on {machine.name}", 60)
        for process in self.find(role, machine):
            with suppress(psutil.Error):
                process.kill()


def _named(*names: str) -> Callable[[list[str]], bool]:
    """Is one of the first words of a command a program, or a module, of one of these names?"""
    return lambda words: any(
        word.rsplit("/", 1)[-1].removesuffix(".py") in names for word in words[:4]
    )


#: Process -> how its command looks, with Flower's programs or ours.
ROLES: Mapping[str, Callable[[list[str]], bool]] = {
    "client app": _named("flwr-clientapp", "client.run_clientapp", "run_clientapp"),
    "SuperNode": _named("flower-supernode"),
    "site's launcher": _named("flower-superexec", "client.launcher", "launcher"),
    "nginx": lambda words: words[0].startswith("nginx"),
    "server app": _named("flwr-serverapp"),
    "SuperLink": _named("flower-superlink"),
    "SuperExec": _named("flower-superexec"),
}


def new_kit(folder: Path) -> Kit:
    """The coordinator's folder."""
    return provision(folder, HOST, None)[0]


def settle_site(kit: Kit, folder: Path, built: SiteSettings) -> None:
    """A hospital's folder from the kit, its settings, and its admission."""
    enroll(kit.handout, built.name, folder)
    settings = {
        "name": built.name, "server": f"{HOST}:443", "manifest": str(built.manifest),
        "store": str(built.store), "state": "state", "device": "cpu", "save_every": 1,
        "policy": {"min_patients": 1, "approved_plans": "optional"},
    }  # fmt: skip
    (folder / "site.toml").write_text(tomli_w.dumps(settings))
    if built.name not in site_names(kit):
        admit(kit, built.name, str(folder / "node.pub"))


@contextmanager
def world(folder: Path, built: list[SiteSettings]) -> Iterator[World]:
    """A provisioned federation whose sites are admitted; nothing runs yet.

    Args:
        folder: Short, new, and not under a folder with a ``$``.
        built: Where each site's manifest and store are.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = {
        "PYTHONPATH": str(TREE), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    }  # fmt: skip
    with internet(folder / "homes", COORDINATOR, *SITES, env=env) as machines:
        for machine in machines.values():
            machine.knows(HOST, machines[COORDINATOR].address)
        kit = new_kit(machines[COORDINATOR].home / "fed")
        for site in built:
            settle_site(kit, machines[site.name].home / "site", site)
        yield World(folder, machines, kit)
