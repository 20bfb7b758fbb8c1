"""Machines of a small internet: each a network namespace of Linux, with an address and a home.

A bridge joins them, in a namespace of its own that can stand between two of them. Nothing of it
touches the real network; all of it, and every process in it, goes with the block.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

#: Where `ip netns exec` looks for a namespace's own files of /etc.
ETC = Path("/etc/netns")
#: The machine in the middle, with the bridge.
MIDDLE = "middle"
#: Numbers of the internets that this process makes: several may be there at once.
_INTERNETS = itertools.count()


class Machine:
    """A network namespace.

    Args:
        name: Among the machines; 15 letters at most, as devices have.
        namespace: Its name for `ip netns`.
        address: IPv4, of the one cable that it has.
        home: Folder of its user.
        env: Environment of what runs there, beside HOME and PATH.
    """

    def __init__(
        self, name: str, namespace: str, address: str, home: Path, env: Mapping[str, str]
    ) -> None:
        self.name, self.namespace, self.address, self.home = name, namespace, address, home
        self.middle = namespace.removesuffix(name) + MIDDLE
        self.env = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **env}
        home.mkdir(parents=True, exist_ok=True)
        etc = ETC / namespace
        etc.mkdir(parents=True)
        (etc / "resolv.conf").touch()
        self.hosts: dict[str, str] = {}
        self.knows("localhost", "127.0.0.1")

    def knows(self, name: str, address: str) -> None:
        """Enter an address into its /etc/hosts, for what is started from now on."""
        self.hosts[name] = address
        lines = [f"{address} {name}\n" for name, address in self.hosts.items()]
        (ETC / self.namespace / "hosts").write_text("".join(lines))

    def inside(self, command: Sequence[object]) -> list[str]:
        """A command as it runs there; it keeps the process's number."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    def run(
        self, *command: object, cwd: Path | None = None, told: str = "", patience: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with ``told`` at its standard input.

        It is not waited for what it leaves running, though that may hold its output.
        """
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                self.inside(command), cwd=cwd or self.home, env=self.env, input=told, text=True,
                stdout=out, stderr=err, timeout=patience, check=False,
            )  # fmt: skip
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(
                [*map(str, command)], done.returncode, out.read(), err.read()
            )

    def start(
        self, *command: object, log: Path, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command; what it says is appended to a file."""
        with log.open("ab") as out:
            return subprocess.Popen(
                self.inside(command), cwd=cwd or self.home, env=self.env,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """All that runs there, and has not ended."""
        found = []
        for pid in _ip("netns", "pids", self.namespace).split():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(pid))
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def cable(self, *, plugged: bool) -> None:
        """Pull its cable out, or put it back."""
        state = "up" if plugged else "down"
        _ip("-n", self.namespace, "link", "set", "eth0", state)

    def throttle(self, rate: str) -> None:
        """Let no more come to it, or leave it, than this, such as ``1mbit``."""
        queue = ("root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
        for namespace, device in self._ends():
            _call("tc", "-n", namespace, "qdisc", "replace", "dev", device, *queue)

    def unthrottle(self) -> None:
        """Let its cable carry what it can."""
        for namespace, device in self._ends():
            with suppress(OSError):  # it does
                _call("tc", "-n", namespace, "qdisc", "del", "dev", device, "root")

    def _ends(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Both ends of its cable: namespace and device."""
        return (self.namespace, "eth0"), (self.middle, self.name)

    def end(self) -> None:
        """Kill all that runs there."""
        deadline = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < deadline:
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            time.sleep(0.05)


def missing() -> str:
    """Why there can be no such machines here; "" where there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if not (shutil.which("ip") and shutil.which("tc")):
        return "`ip` and `tc` are not installed here; .ci/run installs them (iproute2)"
    trial = f"echofm-{os.getpid()}-trial"
    try:
        _ip("netns", "add", trial)
    except OSError as error:
        return f"no network namespaces here ({error})"
    try:
        _ip("-n", trial, "link", "add", "bridge0", "type", "bridge")
        _ip("-n", trial, "link", "add", "one", "type", "veth", "peer", "name", "other")
    except OSError as error:
        return f"this kernel joins no network namespaces ({error})"
    finally:
        _ip("netns", "del", trial)
    return ""


@contextmanager
def internet(
    folder: Path, *names: str, env: Mapping[str, str] | None = None
) -> Iterator[dict[str, Machine]]:
    """Machines that reach each other, and :data:`MIDDLE`, through which their packets pass.

    Args:
        folder: Their homes are made there.
        names: Of the machines, short ones.
        env: See :class:`Machine`.
    """
    made: dict[str, Machine] = {}
    internet_number = next(_INTERNETS)
    try:
        for number, name in enumerate((MIDDLE, *names), start=1):
            namespace = f"echofm-{os.getpid()}-{internet_number}-{name}"
            _ip("netns", "add", namespace)
            machine = Machine(name, namespace, f"10.77.0.{number}", folder / name, dict(env or {}))
            made[name] = machine
            _ip("-n", namespace, "link", "set", "lo", "up")
            middle = made[MIDDLE].namespace
            if name == MIDDLE:
                device = "bridge0"
                _ip("-n", middle, "link", "add", device, "type", "bridge")
            else:
                device = "eth0"
                to_middle = ("type", "veth", "peer", "name", name, "netns", middle)
                _ip("-n", namespace, "link", "add", device, *to_middle)
                _ip("-n", middle, "link", "set", name, "master", "bridge0", "up")
            _ip("-n", namespace, "address", "add", f"{machine.address}/24", "dev", device)
            _ip("-n", namespace, "link", "set", device, "up")
        yield made
    finally:
        for machine in made.values():
            machine.end()
            _ip("netns", "del", machine.namespace)
            shutil.rmtree(ETC / machine.namespace, ignore_errors=True)


def _ip(*words: str) -> str:
    return _call("ip", *words)


def _call(*command: str) -> str:
    """What a command says.

    Raises:
        OSError: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
