"""Full disks, damaged files, two coordinators in one folder, and a site that is away."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.faults_case import Case, Outcome, judge
from benchmarks.faults_run import SITES, Submitted, plan_of, reach, stop, until
from benchmarks.faults_world import World

VICTIM = SITES[1]


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A file system of this size in place of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave nothing free; returns the file that takes it."""
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(os.urandom(1 << 16))
            file.flush()
    return filler


def full_site(world: World) -> Outcome:
    """Its disk is full in the second round, and is made room on: that round alone is lost."""
    stop(world.clients[VICTIM])
    state = world.site(VICTIM) / "state"
    with small_disk(state, 128):
        world.mend()
        run = world.submit(plan_of("full-site"))
        reach(run, world.site(VICTIM), "in training")
        filler = fill(state)
        until(lambda: 2 in run.entries() or run.command.process.poll() is not None, "round 2")
        filler.unlink()
        outcome = judge(world, run, run.command.end(), losing=True)
        if not any("disk" in why or "space" in why for why in run.lost().values()):
            outcome.faults.append("the reason does not say that the disk is full")
        stop(world.clients[VICTIM])
    return outcome


def full_server(world: World) -> Outcome:
    """The run ends with a sentence; with room again it goes on, and nothing is lost."""
    plan = plan_of("full-server")
    folder = world.coordinator.home / "runs" / plan.name
    stop(world.server)  # what runs already would not see the new file system
    with small_disk(folder, 128):
        world.mend()
        run = world.submit(plan)
        reach(run, world.site(VICTIM), "in training")
        filler = fill(folder)
        code, said = run.command.end(), run.command.sentence()
        filler.unlink()
        run = world.submit(plan, resume=True)
        notes = [f"`server run` ended with {code}: {said}"]
        outcome = judge(world, run, run.command.end(), lossless=True, notes=notes)
        if not code or not ("disk" in said.lower() or "space" in said.lower()):
            outcome.faults.append("`server run` does not say that the disk is full")
        stop(world.server)
    return outcome


def corrupted(world: World) -> Outcome:
    """The newest checkpoint is damaged after a crash: the round before it is gone on from."""
    plan = plan_of("corrupted", rounds=3)
    run = world.submit(plan)
    until(lambda: 2 in run.entries(), "round 2")
    world.kill("server app", world.coordinator)
    run.command.end()
    checkpoint = run.folder / "checkpoints/pretrain-0002.safetensors"
    raw = bytearray(checkpoint.read_bytes())
    raw[-1000] ^= 1
    checkpoint.write_bytes(raw)
    run = world.submit(plan, resume=True)
    code = run.command.end()
    again = [line for line in run.command.said().splitlines() if "round 2" in line]
    outcome = judge(world, run, code, lossless=True, notes=again[:1])
    if not again:
        outcome.faults.append("round 2 was not trained again")
    return outcome


def twice(world: World) -> Outcome:
    """A second coordinator in a run folder is refused, and does no harm to the first."""
    run = world.submit(plan_of("twice", rounds=3))  # long enough for the second to come to it
    reach(run, world.site(VICTIM), "in training")
    second: Submitted = world.submit(run.plan, resume=True)
    code, said = second.command.end(), second.command.sentence()
    notes = [f"the second ended with {code}: {said}"]
    outcome = judge(world, run, run.command.end(), lossless=True, notes=notes)
    if not code or "another process" not in said:
        outcome.faults.append("the second was not refused as such")
    return outcome


def away(world: World) -> Outcome:
    """A site is stopped before the second round, and comes back before the third."""
    run = world.submit(plan_of("away", rounds=3, deadline_seconds=60))
    until(lambda: 1 in run.entries(), "round 1")
    stop(world.clients[VICTIM])
    until(lambda: 2 in run.entries(), "round 2")
    world.join(VICTIM)
    outcome = judge(world, run, run.command.end(), losing=True)
    if f"round 2, {VICTIM}" not in run.lost():
        outcome.faults.append("the journal does not name the site in round 2")
    return outcome


CASES = (
    Case("disk full at a site", full_site),
    Case("disk full at the coordinator", full_server),
    Case("newest checkpoint damaged", corrupted),
    Case("two coordinators on one folder", twice),
    Case("a site away for one round", away),
)
