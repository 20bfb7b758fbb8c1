"""Models that the server holds above base, over Flower's HTTP grid, by the number of sites.

``python -m benchmarks.server_memory``: two rounds and the final evaluation of a 22 M model, each
number of sites in a process of its own. The server's code and Flower's grid are the real ones; the
SuperLink behind them is :class:`Link`, whose sites answer at once and all alike. Base is the
process before it has a model; memory is what is private to it (anonymous pages), sampled.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import flwr.app
import numpy as np
from flwr.app import Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto import message_pb2, node_pb2, runtime_pb2
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.superlink.grid.http_grid import HttpGrid
from numpy.typing import NDArray

from benchmarks._rows import Bar, Row, finish, parser
from echofm_core.contract import (
    Action,
    Phase,
    Record,
    Score,
    SiteDescription,
    SiteResult,
    Update,
)
from echofm_core.data.formats.npy import unpack
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import FederationConfig
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.checksum import checksum, digest
from echofm_core.tasks import Task
from echofm_core.wire import encode, to_records
from server.evaluation import evaluate
from server.phase import train_phase
from server.phase_run import Participant, PhaseRun
from server.reception import Site
from server.result_admission import metric_names
from server.run import Run
from simulations.flower_private import become_server, empty_run

#: Parameters of the whole model, and the arrays that they are in.
PARAMETERS, ARRAYS = 22_000_000, 100
#: Training rounds.
ROUNDS = 2
SITES = (2, 10, 50)
INTERVAL = 0.002


class Link:
    """What a SuperLink's runtime API answers; the sites behind it send back what they were sent.

    It keeps one model, which all replies share, and drops what is pushed.

    Args:
        weights: The model.
        plan: Of the evaluation.
    """

    def __init__(self, weights: dict[str, NDArray[np.float32]], plan: Plan) -> None:
        update = Update(
            site="",
            phase=Phase.PRETRAIN,
            round=0,
            plan_hash="x",
            weights=weights,
            counts={"encoder": 10},
            metrics={"loss": 0.1},
            checksum=checksum(weights),
        )
        scores = {f"federated/ef/{name}": Score(0.5, 0.4, 0.6) for name in metric_names(Task.EF)}
        self._result = SiteResult(
            site="",
            plan_hash=plan.digest(),
            digest=digest(weights),
            patients={"ef": 5},
            scores=scores,
        )
        self._arrays = to_records(encode(update), flwr.app)[Record.ARRAYS.value]
        self._update = replace(update, weights={})
        self._replies: dict[str, tuple[Any, Any]] = {}
        self._objects: dict[str, Any] = {}
        self._round = 0

    def model(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the model, for the server to begin with."""
        return {
            name: np.array(unpack(array.data), np.float32) for name, array in self._arrays.items()
        }

    def GetNodes(self, request: Any) -> Any:  # noqa: N802
        """All nodes are there."""
        nodes = [node_pb2.NodeInfo(node_id=node) for node in range(1, 1 + max(SITES))]
        return runtime_pb2.GetNodesResponse(nodes=nodes)

    def PushMessages(self, request: Any) -> Any:  # noqa: N802
        """Take instructions; the replies are there at once."""
        self._round += 1
        for proto in request.messages_list:
            self._answer(message_from_proto(proto))
        wanted = {
            node.object_id
            for tree in request.message_object_trees
            for node in iterate_object_tree(tree)
        }
        ids = [proto.metadata.message_id for proto in request.messages_list]
        return runtime_pb2.PushAppMessagesResponse(message_ids=ids, objects_to_push=wanted)

    def PushObject(self, request: Any) -> Any:  # noqa: N802
        """Take a part of an instruction in its time, and drop it."""
        time.sleep(0.002)
        return message_pb2.PushObjectResponse(stored=True)

    def PullMessages(self, request: Any) -> Any:  # noqa: N802
        """A reply and the tree of its objects."""
        proto, tree = self._replies.pop(request.message_ids[0])
        return runtime_pb2.PullAppMessagesResponse(
            messages_list=[proto], message_object_trees=[tree]
        )

    def PullObject(self, request: Any) -> Any:  # noqa: N802
        """One object."""
        return message_pb2.PullObjectResponse(
            object_found=True,
            object_available=True,
            object_content=self._objects[request.object_id].deflate(),
        )

    def ConfirmMessageReceived(self, request: Any) -> Any:  # noqa: N802
        """Nothing follows."""
        return message_pb2.ConfirmMessageReceivedResponse()

    def _answer(self, message: Message) -> None:
        site = f"s{message.metadata.dst_node_id:04d}"
        if message.metadata.message_type == Action.EVALUATE:
            records = to_records(encode(replace(self._result, site=site)), flwr.app)
        else:
            update = replace(self._update, site=site, round=self._round)
            shared = {Record.ARRAYS.value: self._arrays}
            records = to_records(encode(update), flwr.app, shared)
        reply = Message(records, reply_to=message)
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            self._objects |= get_all_nested_objects(reply)
            tree = get_object_tree(reply)
        proto = message_to_proto(remove_content_from_message(reply))
        self._replies[message.metadata.message_id] = (proto, tree)


class Peak(Protocol):
    """Watches memory within a ``with`` block; ``peak``: most bytes above those at its start."""

    peak: float

    def __enter__(self) -> Peak: ...

    def __exit__(self, *error: object) -> None: ...


class AnonymousPeak(threading.Thread):
    """A :class:`Peak` of the pages that are private to this process, sampled."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        # What was freed before would be used again, and not be seen.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.done, self.peak, self.base = threading.Event(), 0.0, anonymous()

    def run(self) -> None:
        """Sample until the block ends."""
        while not self.done.wait(INTERVAL):
            self.peak = max(self.peak, anonymous() - self.base)

    def __enter__(self) -> AnonymousPeak:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.join()


def anonymous() -> float:
    """Bytes of this process that no file backs (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) * 1024


def models_held(
    sites: int, parameters: int, arrays: int, watch: Callable[[], Peak]
) -> tuple[float, float]:
    """Most models above base while training and while evaluating.

    Args:
        sites: How many take part.
        parameters: Of the model, all float32.
        arrays: That they are in, all of one size.
        watch: Makes what watches memory.

    Raises:
        RuntimeError: A site's update or result was not taken.
    """
    become_server()
    plan = plan_from_mapping({"name": "memory", "finetune": {"tasks": ["ef"]}}, "benchmark")
    rng, size = np.random.default_rng(1), parameters // arrays
    link = Link({f"encoder.{i:03d}": rng.random(size, np.float32) for i in range(arrays)}, plan)
    grid = HttpGrid(token="none")
    grid.set_run(empty_run())
    grid._client = link  # type: ignore[assignment]
    names = {f"s{node:04d}": node for node in range(1, sites + 1)}
    about = SiteDescription(
        site="",
        train_clips=10,
        train_patients=5,
        labels={},
        test_labels={"ef": 9},
        quarantined=0,
    )
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        spec = PhaseRun(
            phase=Phase.PRETRAIN,
            rounds=ROUNDS,
            participants={name: Participant(node=node) for name, node in names.items()},
            federation=FederationConfig(),
            plan="{}",
            plan_hash="x",
            run="memory",
            scratch=Path(scratch),
        )
        with watch() as training:
            weights = train_phase(
                grid, link.model(), spec, on_round=lambda entry, _: refused.update(entry.refused)
            )
        tested = {
            name: Site(node=node, about=replace(about, site=name)) for name, node in names.items()
        }
        base = sum(array.nbytes for array in weights.values())
        with watch() as testing:
            _, failed = evaluate(Run(grid, plan, Path(scratch)), weights, tested)
    if refused or failed:
        raise RuntimeError(f"not all sites counted: {refused or failed}")
    model = 4 * size * arrays
    return training.peak / model, (testing.peak + base) / model


def main() -> None:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--sites", type=int, help="measure this number alone, and print it")
    arguments.add_argument("--parameters", type=int, default=PARAMETERS, help="of the model")
    options = arguments.parse_args()
    if options.sites:
        print(*models_held(options.sites, options.parameters, ARRAYS, AnonymousPeak))
        return
    rows: list[Row] = []
    for sites in SITES:
        rows += rows_of(sites, *measured(sites, options.parameters))
    finish(rows, options.json)


def measured(sites: int, parameters: int) -> tuple[float, float]:
    """As :func:`models_held`, in a process of its own."""
    given = ["--sites", str(sites), "--parameters", str(parameters)]
    command = [sys.executable, "-m", "benchmarks.server_memory", *given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    training, evaluation = map(float, done.stdout.split())
    return training, evaluation


def rows_of(sites: int, training: float, evaluation: float) -> list[Row]:
    """Models above base, each held to three."""
    held = {"training": training, "evaluation": evaluation}
    return [
        Row(f"{what}: models, {sites} sites", value, bar=Bar("at most", 3))
        for what, value in held.items()
    ]


if __name__ == "__main__":
    main()
