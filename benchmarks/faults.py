"""What a federation lives through: faults of processes, links, clocks, keys and disks, one by one.

    python -m benchmarks.faults            # what is not kept yet, or did not hold
    python -m benchmarks.faults --list
    python -m benchmarks.faults --only "kill SuperNode" --only link
    python -m benchmarks.faults --kept     # print and judge what was seen last, and run nothing

A coordinator and three hospitals run on machines of their own, which are network namespaces: it
needs Linux, root and nginx. Each case is kept in ``benchmarks/results/faults.json`` as it ends, so
that a command which was stopped goes on where it was. Exit code 0: every case is kept and holds.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import faults_kill, faults_network, faults_storage, faults_trust
from benchmarks._command import command_line
from benchmarks.faults_case import Case, Outcome
from benchmarks.faults_run import FaultError, plan_of
from benchmarks.faults_world import World, world
from echofm_core.training.config import ExecutionConfig
from server.journal import write_json
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import build_sites, with_states
from tests.support.machines import missing

KEPT = Path(__file__).parent / "results" / "faults.json"
CASES: tuple[Case, ...] = (
    *faults_trust.CASES,
    *faults_network.CASES,
    *faults_storage.CASES,
    *faults_kill.CASES,
)


def undisturbed(sites: list[SiteSettings], folder: Path, rounds: int) -> str:
    """Digest of the weights of the plan of all cases, trained in this process."""
    with Engine(execution=ExecutionConfig(device="cpu")) as engine:
        grid = engine.grid(with_states(sites, folder / "states"))
        return run_federation(grid, plan_of("still", rounds=rounds), folder / "run").digest


def tried(case: Case, world: World) -> Outcome:
    """Run a case in a federation that is whole; what goes wrong on the way is its fault too."""
    try:
        if case.alone:
            world.serve()
        else:
            world.mend()
        return case.run(world)
    except FaultError as error:
        return Outcome([str(error)])
    except Exception:
        return Outcome([traceback.format_exc()[-2000:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; returns the exit code."""
    parser = command_line(str(__doc__), lines=True)
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="of its name")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--kept", action="store_true", help="run nothing")
    parser.add_argument("--again", action="store_true", help="run those that hold, too")
    given = parser.parse_args(arguments)
    kept: dict[str, dict[str, Any]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    chosen = [
        case for case in CASES if not given.only or any(text in case.name for text in given.only)
    ]
    if given.list:
        print("\n".join(case.name for case in chosen))
        return 0
    if not given.kept:
        if why := missing():
            print(f"cannot run here: {why}")
            return 1
        due = [it for it in chosen if given.again or kept.get(it.name, {}).get("faults") != []]
        run(due, kept)
    for case in chosen:
        print(line(case.name, kept.get(case.name)))
    return int(any(kept.get(case.name, {}).get("faults") != [] for case in chosen))


def run(cases: Sequence[Case], kept: dict[str, dict[str, Any]]) -> None:
    """Run cases one after the other, and keep each as it ends."""
    for number in (signal.SIGTERM, signal.SIGINT):  # which shells have jobs ignore
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        sites = build_sites(folder / "built")
        expected = {n: undisturbed(sites, folder / f"still-{n}", n) for n in (2, 3)}
        with world(folder / "world", sites) as federation:
            federation.expected = expected
            for case in cases:
                started = time.monotonic()
                outcome = tried(case, federation)
                kept[case.name] = {
                    **json.loads(json.dumps(asdict(outcome)).replace(name, "…")),
                    "seconds": round(time.monotonic() - started),
                    "date": time.strftime("%Y-%m-%d"),
                }
                write_json(
                    KEPT, {item.name: kept[item.name] for item in CASES if item.name in kept}
                )
                print(line(case.name, kept[case.name]), flush=True)


def line(name: str, found: dict[str, Any] | None) -> str:
    """A case in words."""
    if found is None:
        return f"-   {name}: not run yet"
    words = "".join(f"\n      {each}" for each in (*found["faults"], *found["seen"]))
    verdict = "NO " if found["faults"] else "ok "
    return f"{verdict} {name} ({found['seconds']} s, {found['date']}){words}"


if __name__ == "__main__":
    sys.exit(main())
