"""Flower's own simulation: stock FedAvg on the Ray backend, one CPU a client."""

from __future__ import annotations

import sys
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.workloads import ROUNDS, SITES, start, train


def client_app(name: str) -> ClientApp:
    """A client that does the workload."""
    app = ClientApp()

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        import torch

        torch.set_num_threads(1)
        record = message.content["arrays"]
        arrays = {key: record[key].numpy() for key in record}
        trained = train(name, arrays, int(context.node_config["partition-id"]))
        state = {key: torch.from_numpy(value) for key, value in trained.items()}
        content = RecordDict(
            {"arrays": ArrayRecord(state), "metrics": MetricRecord({"num-examples": 1})}
        )
        return Message(content, reply_to=message)

    return app


def main(name: str) -> None:
    import torch

    server = ServerApp()

    @server.main()
    def run(grid: Grid, context: Context) -> None:
        state = {key: torch.from_numpy(value) for key, value in start(name).items()}
        strategy = FedAvg(fraction_evaluate=0.0, min_available_nodes=SITES, min_train_nodes=SITES)
        result = strategy.start(grid, ArrayRecord(state), num_rounds=ROUNDS)
        print(sum(float(array.numpy().mean(dtype=float)) for array in result.arrays.values()))

    backend: dict[str, Any] = {
        # Not a cluster that already runs here, or ran: its processes would not be counted.
        "init_args": {"address": "local"},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    run_simulation(server, client_app(name), num_supernodes=SITES, backend_config=backend)


if __name__ == "__main__":
    main(sys.argv[1])
