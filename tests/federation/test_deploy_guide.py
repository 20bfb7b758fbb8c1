"""docs/how-to/deploy.md, its commands run as they stand there: a coordinator and two hospitals.

Each is a network namespace with an environment, a home and an address of its own, nginx in front of
the coordinator. The package is installed from its wheel; what others wrote comes from here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.self_check import FLEET
from tests.support.capture import records, streams
from tests.support.installed import TREE, build_wheel, make_environment
from tests.support.machines import Machine, internet, missing

GUIDE = TREE / "docs/how-to/deploy.md"
HOST = "fl.example.org"
#: Variable of the environment that asks for what takes long.
ASKED = "ECHOFM_NETWORK"
#: Layout of what each hospital has in its archive.
HOSPITALS = {"north": "echonet_dynamic", "south": "camus"}
#: Most commands and files to edit at a hospital, its install included.
MOST_COMMANDS, MOST_EDITS = 8, 1
PLAN = """name = "first"
seed = 3
[data]
size = 32
frames = 4
min_clip_frames = 2
test_windows = 1
[model]
size = "tiny"
[pretrain]
rounds = 0
[finetune]
rounds = 1
local_steps = 2
tasks = ["ef"]
[federation]
min_sites = 2
[evaluation]
bootstrap = 100
"""
#: Name of the proposed plan, as the guide has it.
PROPOSED = "first-1a2b3c4d"
#: Sends a request to each path given and prints the status of its answer.
ASK = """import http.client, ssl, sys
trust = ssl.create_default_context(cafile=sys.argv[1])
for path in sys.argv[3:]:
    link = http.client.HTTPSConnection(sys.argv[2], 443, timeout=20, context=trust)
    link.request("POST", path, body=b"")
    print(link.getresponse().status)
"""
#: Prints the ports of an address that take a connection.
SCAN = """import socket, sys
for port in range(1, 2**16):
    with socket.socket() as probe:
        probe.settimeout(5)
        if probe.connect_ex((sys.argv[1], port)) == 0:
            print(port)
"""


def commands(section: str) -> list[str]:
    """What stands in the fenced ``sh`` blocks under a heading, without its comments."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", GUIDE.read_text(), re.M | re.S)
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.M | re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def split_at(lines: list[str], word: str) -> tuple[list[str], list[str]]:
    """Those before the line with a word, and that one with those behind it."""
    (at,) = [number for number, line in enumerate(lines) if word in line]
    return lines[:at], lines[at:]


def test_a_hospital_needs_few_commands_and_edits_one_file() -> None:
    joining, after = split_at(commands("Hospital"), "client audit")
    edits = set(re.findall(r"`(north/\S+)`[^`]*It is the one\s+file to edit", GUIDE.read_text()))
    print(f"\na hospital: {len(joining)} commands, {len(edits)} file to edit ({', '.join(edits)})")
    for line in joining:
        print(f"  {line}")
    assert len(joining) <= MOST_COMMANDS and len(edits) <= MOST_EDITS
    assert joining[-1].startswith("echofm client start") and edits == {"north/site.toml"}
    assert len(after) == 1


class Place:
    """A machine that follows the guide, and what it has said."""

    def __init__(self, machine: Machine, programs: Path) -> None:
        self.machine, self.home = machine, machine.home
        self.machine.env["PATH"] = f"{programs}:{machine.env['PATH']}"
        self.log = self.home.with_name(f"{machine.name}.log")
        self.log.touch()

    def do(self, line: str, told: str = "") -> str:
        """Run a line of the guide to its end, which has to be a good one."""
        done = self.machine.run("sh", "-c", line, told=told)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}\n{self.said()}"
        return done.stdout

    def begin(self, line: str, until: str) -> subprocess.Popen[bytes]:
        """Start a line that runs on, and wait for its word."""
        process = self.machine.start("sh", "-c", f"exec {line}", log=self.log)
        wait(lambda: until in self.said() or process.poll() is not None, self.said)
        assert until in self.said(), f"{line}\n{self.said()}"
        return process

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def wait(reached: Callable[[], object], said: Callable[[], str], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


@contextmanager
def places(folder: Path) -> Iterator[dict[str, Place]]:
    """The coordinator and the hospitals, each with what its IT has before it opens the guide."""
    wheel = build_wheel(folder / "wheel")
    env = {"OMP_NUM_THREADS": "1", "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1"}
    with internet(folder / "homes", "coordinator", *HOSPITALS, env=env) as machines:
        found = {}
        for name in ("coordinator", *HOSPITALS):
            machines[name].knows(HOST, machines["coordinator"].address)
            programs = make_environment(wheel, machines[name].home / "echofm")
            found[name] = Place(machines[name], programs)
        (found["coordinator"].home / "plan.toml").write_text(PLAN)
        yield found


@contextmanager
def captured(machine: Machine, file: Path) -> Iterator[None]:
    """All that passes over a machine's cable, in a file."""
    log = file.with_suffix(".log")
    words = ("-Z", "root", "-i", "eth0", "-B", "65536", "-U", "-w", str(file), "tcp")
    process = machine.start("tcpdump", *words, log=log)
    wait(lambda: "listening on eth0" in log.read_text(), log.read_text)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert "\n0 packets dropped by kernel" in log.read_text(), log.read_text()


def check_cable(file: Path, address: str) -> None:
    """Only TLS, only to and from port 443 of the coordinator, in both directions."""
    seen = {"to": 0, "from": 0}
    for (source, port, target, other), stream in streams(file).items():
        to = (target, other) == (address, 443)
        assert to or (source, port) == (address, 443), (source, port, target, other)
        kinds = set(records(stream.content()))
        assert 23 in kinds or kinds == {22}, kinds
        seen["to" if to else "from"] += len(stream.content())
    assert min(seen.values()) > 1_000_000, "weights travel both ways"


def check_doors(place: Place, address: str, health: int) -> None:
    """From a hospital nothing but the fleet's part answers."""
    closed = ["/v1/control/list-runs", "/v1/runtime/acquire-task", "/health", "/openapi.json", "/"]
    trust = place.home / "kit/ca.crt"
    ask = place.machine.run(sys.executable, "-c", ASK, trust, HOST, *closed, FLEET)
    *refused, fleet = ask.stdout.split()
    assert refused == ["404"] * len(closed) and fleet == "415", ask
    opened = place.machine.run(sys.executable, "-c", SCAN, address).stdout.split()
    assert opened == ["443"], f"ports open to hospitals: {opened}; health is {health}"


def cannot() -> str:
    """Why the guide cannot be followed here; "" where it can."""
    if shutil.which("nginx") and shutil.which("tcpdump"):
        return missing()
    return "nginx or tcpdump is not installed here; .ci/run installs them"


@pytest.mark.slow
@pytest.mark.deployed
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    ASKED not in os.environ,
    reason=f"a minute and a half of CPU: {ASKED}=1, or `python -m benchmarks.faults --only guide`",
)
def test_the_guide_to_the_letter_on_three_machines(tmp_path: Path) -> None:
    if why := cannot():
        pytest.skip(why)
    follow(tmp_path)


def follow(folder: Path) -> None:
    """Follow the guide from the first line to the last, and look at what comes of it."""
    provision, serving = split_at(commands("Coordinator"), "server admit")
    (admit, propose), serving = split_at(serving, "nginx")
    nginx, start, status, run = serving
    joining, (audit,) = split_at(commands("Hospital"), "client audit")
    install, joining = split_at(joining, "client init")
    (init, *data), (approve, begin) = split_at(joining, "client approve")
    assert install[-1].startswith("pip install"), "made by `make_environment`"
    with places(folder) as found:
        coordinator = found.pop("coordinator")
        address = coordinator.machine.address
        for line in provision:
            coordinator.do(line)
        for name, place in found.items():
            shutil.copytree(coordinator.home / "fed/kit", place.home / "kit")
            place.do(init.replace("north", name))
            shutil.copy(place.home / name / "node.pub", coordinator.home / f"{name}.pub")
            coordinator.do(admit.replace("north", name))
        coordinator.do(propose)
        (proposed,) = (coordinator.home / "fed/plans").iterdir()
        # The pid file of nginx is the real machine's own: this one has an empty /run.
        coordinator.do(f"mount -t tmpfs none /run && {nginx}")
        coordinator.begin(start, "control and runtime do not answer there")
        assert "WARNING" not in coordinator.said()
        for name, place in found.items():
            write = f"echofm phantom write phantoms --layout {HOSPITALS[name]} --patients 10"
            place.do(f"{write} --no-errors && mv phantoms/*/ archive")
            shutil.copy(proposed, place.home)
            for line in data:
                place.do(re.sub(PROPOSED, proposed.stem, line).replace("north", name))
            edit_policy(place.home / name / "site.toml")
            approving = re.sub(PROPOSED, proposed.stem, approve).replace("north", name)
            assert "ef" in place.do(approving, told="y\n")
        health = json.loads(coordinator.do(f"{status} --json"))["ports"]["health"]
        check_doors(place, address, health)
        with captured(coordinator.machine, folder / "cable.pcap"):
            for name, place in found.items():
                place.begin(begin.replace("north", name), "knows this site's key")
            shown = coordinator.do(run)
        assert "2 online" in coordinator.do(status)
        check_cable(folder / "cable.pcap", address)
        runs = coordinator.home / "runs/first"
        assert (runs / "report.html").stat().st_size > 10_000 and "finished: runs/first" in shown
        tested = json.loads((runs / "evaluation.json").read_text())
        assert {row["site"] for row in tested["sites"]} == set(HOSPITALS) and not tested["failed"]
        journal = json.loads((runs / "journal/finetune-0001.json").read_text())
        for name, place in found.items():
            head = journal["sites"][name]["audit_head"]
            said = place.do(re.sub(r"[0-9a-f]{16}$", head, audit.replace("north", name)))
            assert "ok: audit" in said


def edit_policy(site: Path) -> None:
    """The one edit by hand: ten patients give three to test, of whom figures may leave."""
    before = site.read_text()
    text = before.replace("# min_patients = 5", "min_patients = 1")
    assert text != before
    site.write_text(text)
