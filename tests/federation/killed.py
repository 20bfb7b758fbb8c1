"""A federation to be killed: ``killed.py SITES STATES RUN WORKERS AGGREGATION PHASE``."""

from __future__ import annotations

import sys
from pathlib import Path

from echofm_core.contract import Phase
from echofm_core.plan.document import Plan
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, small_plan, with_states

#: Methods that are no rule of aggregation -> the table that they are.
PERSONAL = {
    "fedrep": {"groups": ["heads", "norms"], "alternate_steps": 1},
    "ditto": {"ditto": 0.5, "last_steps": 2},
}


def plan_of(method: str, phase: Phase) -> Plan:
    """Three rounds of the phase that is killed, one of the other; moments are kept.

    All that is carried from round to round, and from phase to phase, is in play.
    """
    words = {
        item.value: {"rounds": 3 if item is phase else 1, "keep_optimizer": True} for item in Phase
    }
    if method in PERSONAL:
        return small_plan(**words, personal=PERSONAL[method])
    return small_plan(**words, federation={"aggregation": method})


def main(
    built: Path, states: Path, run: Path, workers: int, aggregation: str, phase: Phase
) -> None:
    """Run or go on, saying each event."""
    sites = [
        SiteSettings(
            name=name,
            manifest=built / name / "manifest.parquet",
            store=built / name / "stores",
            state=states / name,
        )
        for name in NAMES
    ]
    with Engine(workers) as engine:
        result = run_federation(
            engine.grid(with_states(sites, states)),
            plan_of(aggregation, phase),
            run,
            resume=(run / "journal").exists(),
            on_event=lambda event: print(event.line(), flush=True),
        )
    print(f"digest {result.digest}", flush=True)


if __name__ == "__main__":
    *folders, workers, aggregation, phase = sys.argv[1:]
    main(*map(Path, folders), int(workers), aggregation, Phase(phase))
