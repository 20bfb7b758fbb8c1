"""What happens to links, clocks and ports between hospitals and coordinator."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults_case import Case, Outcome, judge
from benchmarks.faults_run import SITES, FaultError, plan_of, reach, stop, until
from benchmarks.faults_world import HOST, TREE, World
from tests.federation.test_deploy_guide import SCAN, cannot, follow
from tests.support.machines import MIDDLE

#: The site to which things happen.
VICTIM = SITES[1]
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def cut(
    seconds: float, deadline: float, *, rounds: int = 2, losing: bool = False
) -> Callable[[World], Outcome]:
    """A site's cable is out for a while, in the training of the second round."""

    def case(world: World) -> Outcome:
        machine = world.machines[VICTIM]
        run = world.submit(plan_of(f"cut-{seconds:g}", rounds=rounds, deadline_seconds=deadline))
        reach(run, world.site(VICTIM), "in training")
        machine.cable(plugged=False)
        time.sleep(seconds)
        machine.cable(plugged=True)
        return judge(world, run, run.command.end(), losing=losing)

    return case


def thin(world: World) -> Outcome:
    """One site has 1 Mbit/s in both directions: slow, and nothing is lost."""
    machine = world.machines[VICTIM]
    machine.throttle("1mbit")
    run = world.submit(plan_of("thin", deadline_seconds=400))
    try:
        return judge(world, run, run.command.end(), lossless=True)
    finally:
        machine.unthrottle()


def far(world: World) -> Outcome:
    """One site is 200 ms away, and each twentieth packet is lost: nothing of the run is."""
    machine, middle = world.machines[VICTIM], world.machines[MIDDLE]
    stop(world.clients[VICTIM])
    relay = [sys.executable, TREE / "tests/support/relay.py", 443, f"{HOST}:443"]
    log = world.folder / "relay.log"
    process = middle.start(*relay, "--delay", 0.1, "--loss", 0.05, log=log)
    machine.knows(HOST, middle.address)
    try:
        until(lambda: "listening" in log.read_text(), "the relay")
        world.mend()
        run = world.submit(plan_of("far", deadline_seconds=400))
        return judge(world, run, run.command.end(), lossless=True)
    finally:
        machine.knows(HOST, world.coordinator.address)
        stop(world.clients[VICTIM])
        process.kill()


def clock(world: World) -> Outcome:
    """A site's clock jumps by an hour in the second round, and is set right after it."""
    if not FAKETIME.exists():
        raise FaultError("libfaketime is not installed here; .ci/run installs it (faketime)")
    stop(world.clients[VICTIM])
    offset = world.folder / "clock"
    offset.write_text("+0")
    # The monotonic clock jumps too: with FAKETIME_DONT_FAKE_MONOTONIC each time.sleep() fails.
    faked = (
        "env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={offset}",
        "FAKETIME_NO_CACHE=1",
    )  # fmt: skip
    client = world.join(VICTIM, before=faked)
    try:
        world.mend()
        run = world.submit(plan_of("clock", deadline_seconds=60))
        reach(run, world.site(VICTIM), "in training")
        offset.write_text("+1h")
        checked = world.echofm(
            world.machines[VICTIM], "client", "check", world.site(VICTIM), before=faked
        )
        code = checked.end()
        until(lambda: 2 in run.entries() or run.command.process.poll() is not None, "round 2")
        offset.write_text("+0")
        outcome = judge(world, run, run.command.end(), losing=True)
    finally:
        stop(client)
    said = [line for line in checked.said().splitlines() if line.startswith("FAIL")]
    if not code or not any("clock" in line for line in said):
        outcome.faults.append(f"`client check` does not name the clock: {said}, exit code {code}")
    outcome.seen.extend(f"`client check`: {line}" for line in said if "clock" in line)
    return outcome


def scan(world: World) -> Outcome:
    """From a hospital no port of the coordinator takes a connection but 443."""
    until(lambda: world.server, "the server")
    asked = world.machines[VICTIM].run(sys.executable, "-c", SCAN, world.coordinator.address)
    found = asked.stdout.split()
    return Outcome([] if found == ["443"] else [f"open: {found}"], [f"open: {', '.join(found)}"])


def guide(world: World) -> Outcome:
    """The guide's own commands on fresh machines, and a capture of what passed: only TLS."""
    if why := cannot():
        raise FaultError(why)
    with tempfile.TemporaryDirectory(prefix="guide-") as folder:
        follow(Path(folder))
    return Outcome([], ["a run ended with its report, from clean installs", "only TLS was seen"])


CASES = (
    Case("the deployment guide, to the letter", guide, alone=True),
    Case("port scan from a hospital", scan, alone=True),
    Case("link down for 30 s", cut(30, 150)),
    Case("link down for longer than the deadline", cut(110, 60, rounds=3, losing=True)),
    Case("1 Mbit/s at one site", thin),
    Case("200 ms away and 5 % loss at one site", far),
    Case("clock off by an hour at one site", clock),
)
