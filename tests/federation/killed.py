"""A federation of its own to be killed: ``killed.py SITES STATES RUN WORKERS AGGREGATION``."""

from __future__ import annotations

import sys
from pathlib import Path

from echofm_core.plan.document import Plan
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, small_plan, with_states

#: Methods that are no rule of aggregation -> the table that they are.
PERSONAL = {
    "fedrep": {"groups": ["heads", "norms"], "alternate_steps": 1},
    "ditto": {"ditto": 0.5, "last_steps": 2},
}


def plan_of(method: str) -> Plan:
    """Three rounds a phase and kept moments: all that is carried from round to round is in play."""
    phase = {"rounds": 3, "keep_optimizer": True}
    if method in PERSONAL:
        return small_plan(pretrain=phase, finetune=phase, personal=PERSONAL[method])
    return small_plan(pretrain=phase, finetune=phase, federation={"aggregation": method})


def main(built: Path, states: Path, run: Path, workers: int, aggregation: str) -> None:
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
            plan_of(aggregation),
            run,
            resume=(run / "journal").exists(),
            on_event=lambda event: print(event.line(), flush=True),
        )
    print(f"digest {result.digest}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
