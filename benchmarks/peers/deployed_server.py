"""The servers of ``benchmarks.deployment``: our round loop with its journal, or stock FedAvg.

Run config: ``contestant`` (``fp16`` and ``fp32``: ours, by number format on the wire; ``flower``),
``rounds``, ``width`` and ``depth`` of the arrays, ``sites`` (``NAME=NODE``, with spaces between),
and ``folder``, which gets the journal and ``rounds.jsonl``: a line at the start and after each
round, with the time, and CPU seconds and memory of this process; last a line says how it ended.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.peers.deployed_arrays import start
from echofm_core.contract import Phase, Weights
from echofm_core.plan.federation import FederationConfig, Wire
from server.journal import Entry, Journal
from server.phase import algorithm_of, train_phase
from server.phase_run import Participant, PhaseRun

#: Seconds that the sites have to be there.
PATIENCE = 300.0
#: File with a line a round.
ROUNDS = "rounds.jsonl"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one contestant."""
    config = context.run_config
    clock = Clock(Path(str(config["folder"])))
    try:
        nodes = dict(pair.split("=") for pair in str(config["sites"]).split())
        sites = {name: int(node) for name, node in nodes.items()}
        deadline = time.monotonic() + PATIENCE
        while not set(sites.values()) <= set(grid.get_node_ids()):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"not all sites came within {PATIENCE:g} s")
            time.sleep(0.5)
        run = stock if config["contestant"] == "flower" else ours
        run(grid, sites, config, clock)
    except BaseException as error:
        clock.write({"error": f"{type(error).__name__}: {error}"})
        raise
    clock.write({"done": True})


def ours(grid: Grid, sites: Mapping[str, int], config: Mapping[str, Any], clock: Clock) -> None:
    """Our loop; each round is written to journal and checkpoint before the next begins."""
    spec = PhaseRun(
        phase=Phase.PRETRAIN,
        rounds=int(config["rounds"]),
        participants={name: Participant(node=node) for name, node in sites.items()},
        federation=FederationConfig(wire=Wire(str(config["contestant"]))),
        plan="{}",
        plan_hash="x",
        run="benchmark",
        scratch=clock.folder / "scratch",
    )
    journal, algorithm = Journal(clock.folder, spec.plan_hash), algorithm_of(spec)
    journal.open(resume=False)

    def keep(entry: Entry, weights: Weights) -> None:
        journal.record(entry, weights, algorithm.state())
        clock.tick(entry.round)

    weights: Weights = start(int(config["width"]), int(config["depth"]))
    clock.tick(0)
    train_phase(grid, weights, spec, on_round=keep, algorithm=algorithm)


def stock(grid: Grid, sites: Mapping[str, int], config: Mapping[str, Any], clock: Clock) -> None:
    """Flower's FedAvg as it is; its own hook for an evaluation here takes the time."""
    arrays = start(int(config["width"]), int(config["depth"]))
    record = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    del arrays
    strategy = FedAvg(
        fraction_evaluate=0.0, min_train_nodes=len(sites), min_available_nodes=len(sites)
    )

    def ended(number: int, arrays: ArrayRecord) -> None:
        clock.tick(number)

    strategy.start(grid, record, num_rounds=int(config["rounds"]), evaluate_fn=ended)


class Clock:
    """Writes when a round was over, and what this process held then."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def tick(self, number: int) -> None:
        """Note the end of a round; 0: the start of the first."""
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Vm")}
        now = {"round": number, "time": time.time(), "process": os.getpid()}
        now["cpu"] = time.process_time()
        held = {"resident": int(sizes["VmRSS"]) / 1024, "peak": int(sizes["VmHWM"]) / 1024}
        self.write(now | held)

    def write(self, line: Mapping[str, object]) -> None:
        """Append a line."""
        with (self.folder / ROUNDS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
