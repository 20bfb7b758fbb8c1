"""Flower's own interface of a SuperNode for the processes beside it, without a server behind it.

What a SuperNode does with a message that came is done here by its own functions: bundle, run and
task are stored, and whoever serves the tasks answers.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from flwr.app import Context, Message, RecordDict
from flwr.supercore.fab import Fab
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeState, NodeStateFactory
from flwr.supernode.start_client_internal import _insert_message

from echofm_core import __version__

NODE = 5


@dataclass
class NodeRuntime:
    """The interface at an address of this machine."""

    address: str
    state: NodeState
    node_config: Mapping[str, Any]
    _runs: int = field(default=0)

    def ask(self, message: Message, bundle: bytes, kind: str = "flwr-clientapp") -> None:
        """Have a message wait for its answer, in a run of its own with this bundle."""
        self._runs += 1
        run = Run.create_empty(self._runs)
        run.fab_id, run.fab_version = "echofm/echofm-federated", __version__
        run.series_id, run.fab_hash = run.run_id, hashlib.sha256(bundle).hexdigest()
        context = Context(run.run_id, NODE, dict(self.node_config), RecordDict(), {}, run.run_id)
        message.metadata.__dict__.update(_run_id=run.run_id, _dst_node_id=NODE)
        self.state.set_run_series_context(run.series_id, context)
        self.state.store_run(run)
        self.state.store_fab(Fab(run.fab_hash, bundle, {}))
        assert self.state.create_task(kind, run.run_id, run.fab_hash)
        _insert_message(message, self.state, self.state.object_store)

    def reply(self, seconds: float = 60) -> Message:
        """The next answer."""
        deadline = time.monotonic() + seconds
        while not (found := self.state.get_messages_legacy(is_reply=True)):
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.01)
        (reply,) = found
        return reply


@contextmanager
def node_runtime(port: int, secret: bytes, node_config: Mapping[str, Any]) -> Iterator[NodeRuntime]:
    """The interface of a SuperNode that was started with this secret and node config."""
    factory = NodeStateFactory(ObjectStoreFactory())
    factory.state().set_node_id(NODE)
    app = create_app(factory, secret)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        yield NodeRuntime(f"127.0.0.1:{port}", factory.state(), node_config)
    finally:
        server.should_exit = True
        thread.join()
