"""kill -9 of each process that a federation has, at each moment of a round."""

from __future__ import annotations

import signal
from collections.abc import Callable

from benchmarks.faults_case import Case, Outcome, judge
from benchmarks.faults_run import SITES, plan_of, reach
from benchmarks.faults_world import World

#: The site to which things happen.
VICTIM = SITES[0]


#: Moment -> processes of a site that are there then.
AT_SITE = {
    "before sending": ("SuperNode", "site's launcher"),
    "in training": ("client app", "SuperNode", "site's launcher"),
    "in the upload": ("client app", "SuperNode", "site's launcher"),
    "while it is written down": ("SuperNode",),
}
AT_SERVER = ("server app", "SuperLink", "SuperExec", "whole coordinator")


def site_killed(role: str, when: str) -> Callable[[World], Outcome]:
    """A site may lose the round, and then the journal says so; the run goes on by itself."""

    def case(world: World) -> Outcome:
        run = world.submit(plan_of(_name(role, when)))
        reach(run, world.site(VICTIM), when)
        world.kill(role, world.machines[VICTIM])
        return judge(world, run, run.command.end())

    return case


def server_killed(role: str, when: str) -> Callable[[World], Outcome]:
    """Nothing is lost: started again, the run goes on and ends with the same weights."""

    def case(world: World) -> Outcome:
        plan = plan_of(_name(role, when))
        run = world.submit(plan)
        reach(run, world.site(VICTIM), when)
        if role == "whole coordinator":
            world.coordinator.end()
        else:
            world.kill(role, world.coordinator)
        code = run.command.end()
        notes = [f"`server run` ended with {code}: {run.command.sentence()}"]
        if code:
            world.mend()
            run = world.submit(plan, resume=True)
            code = run.command.end()
            notes.append("went on with --resume")
        return judge(world, run, code, lossless=True, notes=notes)

    return case


def hung(world: World) -> Outcome:
    """A site that is frozen in its training (SIGSTOP) misses the round; the others go on."""
    run = world.submit(plan_of("frozen", deadline_seconds=75))
    reach(run, world.site(VICTIM), "in training")
    stopped = world.find("client app", world.machines[VICTIM])
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    code = run.command.end()
    for process in stopped:
        if process.is_running():
            process.send_signal(signal.SIGCONT)
    return judge(world, run, code, losing=True)


def _name(role: str, when: str) -> str:
    """Of the plan, and so of its run."""
    return f"{role}-{when}".replace("'", "").replace(" ", "-").lower()


CASES = (
    *(
        Case(f"kill {role}, {when}", site_killed(role, when))
        for when, roles in AT_SITE.items()
        for role in roles
    ),
    *(
        Case(f"kill {role}, {when}", server_killed(role, when))
        for when in AT_SITE
        for role in AT_SERVER
    ),
    Case("freeze client app, in training", hung),
)
