"""Our round loop and engine, with a client that does the workload and nothing else.

The ServerApp and the ClientApp are Flower's, the phase, the checks and the engine are those of
``echofm simulate``. Prints what the run saw of itself as one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import resource
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from benchmarks._command import command_line
from benchmarks.workloads import ROUNDS, SITES, start, train
from client.wire import make_update, to_instruction, to_reply
from echofm_core.contract import Phase, Weights
from echofm_core.plan.federation import FederationConfig
from server.journal import Entry, Journal
from server.phase import train_phase
from server.phase_run import Participant, PhaseRun
from simulations.engine import Engine, SiteSettings
from simulations.flower_private import SERVER_NODE, fresh_context

PLAN = "x"

app = ClientApp()


@app.train("pretrain")
def pretrain(message: Message, context: Context) -> Message:
    """One round of the workload named in the site's state path."""
    instruction = to_instruction(message)
    site = str(context.node_config["site"])
    name = Path(str(context.node_config["state"])).name
    trained = train(name, dict(instruction.weights), int(site))
    return to_reply(
        make_update(
            site=site,
            instruction=instruction,
            weights=trained,
            counts={"encoder": 1},
            metrics={"loss": 0.0},
        ),
        message,
    )


def run(name: str, sites: int, rounds: int, folder: Path, *, journal: bool) -> dict[str, Any]:
    """Train the workload, and say what the process saw of itself.

    Args:
        name: Workload.
        sites, rounds: How many.
        folder: An empty one.
        journal: Whether each round's entry and checkpoint are written, as in a run.

    Returns:
        ``before``, ``cpu``: CPU seconds until the first round, and of all rounds; ``resident``: MB
        after each round; ``mean``: sum of the arrays' means.
    """
    names = [str(site) for site in range(sites)]
    spec = PhaseRun(
        phase=Phase.PRETRAIN,
        rounds=rounds,
        participants={site: Participant(node=i) for i, site in enumerate(names, start=1)},
        federation=FederationConfig(),
        plan="{}",
        plan_hash=PLAN,
        run="benchmark",
        scratch=folder,
    )
    book, server = Journal(folder, PLAN), ServerApp()
    seen: dict[str, Any] = {"resident": []}

    def after(entry: Entry, weights: Weights) -> None:
        if journal:
            book.record(entry, weights)
        seen["resident"].append(_resident())

    @server.main()
    def federate(grid: Grid, context: Context) -> None:
        seen["before"] = time.process_time()
        weights = train_phase(grid, start(name), spec, on_round=after)
        seen["cpu"] = time.process_time() - seen["before"]
        seen["mean"] = float(sum(value.mean(dtype=float) for value in weights.values()))

    book.open(resume=False)
    with Engine(client_app="benchmarks.peers.ours:app") as engine:
        state = folder / name
        settings = [
            SiteSettings(name=site, manifest=folder, store=folder, state=state) for site in names
        ]
        server(engine.grid(settings), fresh_context(SERVER_NODE, {}))
    return seen


def _resident() -> float:
    """MB of this process that are in memory; without a package whose import would count."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    words = command_line(str(__doc__).splitlines()[0])
    words.add_argument("workload")
    words.add_argument("--sites", type=int, default=SITES)
    words.add_argument("--rounds", type=int, default=ROUNDS)
    words.add_argument("--journal", action="store_true", help="keep entries and checkpoints")
    words.add_argument("--clocks", action="store_true", help="CPU seconds of each part")
    options = words.parse_args()
    clocks = None
    if options.clocks:
        from benchmarks.simulator_clocks import Clocks  # who has none does not pay for the import

        clocks = Clocks()
    with tempfile.TemporaryDirectory() as scratch, clocks or nullcontext():
        seen = run(
            options.workload, options.sites, options.rounds, Path(scratch), journal=options.journal
        )
    print(json.dumps({**seen, "parts": clocks.seconds if clocks else {}}))


if __name__ == "__main__":
    # As the module that the engine loads, so that there is one of it.
    importlib.import_module("benchmarks.peers.ours").main()
