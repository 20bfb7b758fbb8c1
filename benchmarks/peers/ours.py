"""Our round loop and engine, with a client that does the workload and nothing else."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from benchmarks.workloads import ROUNDS, SITES, start, train
from client.wire import make_update, to_instruction, to_reply
from echofm_core.contract import Phase
from echofm_core.plan.federation import FederationConfig
from server.phase import train_phase
from server.phase_run import Participant, PhaseRun
from simulations.engine import Engine, SiteSettings

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


def main(name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sites = [
            SiteSettings(name=str(site), manifest=folder, store=folder, state=folder / name)
            for site in range(SITES)
        ]
        spec = PhaseRun(
            phase=Phase.PRETRAIN,
            rounds=ROUNDS,
            participants={site.name: Participant(node=i) for i, site in enumerate(sites, start=1)},
            federation=FederationConfig(),
            plan="{}",
            plan_hash="x",
            run="benchmark",
            scratch=folder,
        )
        with Engine(client_app="benchmarks.peers.ours:app") as engine:
            weights = train_phase(
                engine.grid(sites), start(name), spec,
                on_round=lambda entry, weights: None, on_event=lambda event: None,
            )  # fmt: skip
    print(float(sum(value.mean(dtype=float) for value in weights.values())))


if __name__ == "__main__":
    main(sys.argv[1])
