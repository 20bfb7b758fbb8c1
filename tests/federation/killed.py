"""A federation in a process of its own, to be killed: ``killed.py SITES STATES RUN WORKERS``."""

from __future__ import annotations

import sys
from pathlib import Path

from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, small_plan, with_states

#: Three rounds a phase and kept moments: all that a site carries from round to round is in play.
PLAN = small_plan(
    pretrain={"rounds": 3, "keep_optimizer": True}, finetune={"rounds": 3, "keep_optimizer": True}
)


def main(built: Path, states: Path, run: Path, workers: int) -> None:
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
            PLAN,
            run,
            resume=(run / "journal").exists(),
            on_event=lambda event: print(event.line(), flush=True),
        )
    print(f"digest {result.digest}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
