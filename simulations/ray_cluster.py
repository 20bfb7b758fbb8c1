"""Joining a Ray cluster, or starting a Ray of this machine's own.

Symptom: a wrong address is found out when all clips are decoded, and a start that takes a minute
says nothing. Reason: Ray is only needed when sites train. Protocol: :func:`require_cluster` joins
for a moment before any data are read; :func:`connect` says what it does. What can still go wrong: a
cluster that goes between the two.
"""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echofm_core.plan.engine import EngineName
from echofm_core.plan.machine import MachineConfig
from echofm_core.plan.ray_address import knock
from echofm_core.runtime.console import console
from echofm_core.runtime.errors import EngineError
from echofm_core.runtime.signals import SIGNALS
from echofm_core.runtime.text import many

#: A Ray of our own sends no statistics to Ray's makers; and none begins because a thread still asks
#: for a reply when the engine was closed.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_AUTO_CONNECT": "0"}
#: Whether Ray asks who calls, and where it finds the word that a caller knows.
MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def require_cluster(machine: MachineConfig) -> None:
    """Join the cluster that a plan names, and leave it; without one, nothing is done.

    Raises:
        EngineError: It is not there, or none of its nodes can train a site.
    """
    if machine.engine is not EngineName.RAY or not machine.ray.address:
        return
    ray = connect(machine.ray.address, cpus=0)
    try:
        require_room(ray, machine.threads, machine.ray.gpus)
    finally:
        ray.shutdown()


def connect(address: str, cpus: int) -> Any:
    """Ray, connected.

    Args:
        address: Of the cluster, or ``auto``; empty: a Ray of this machine's own.
        cpus: Of a Ray of our own.

    Raises:
        EngineError: There is no such cluster, or Ray does not start.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if address:
        where = "of this machine" if address == "auto" else f"at {address}"
        console.print(f"joining the Ray cluster {where}", markup=False)
    else:
        console.print(f"starting Ray on this machine with {many(cpus, 'CPU')}: up to a minute")
        _guard_own()
    knock(address)
    ray = importlib.import_module("ray")
    try:
        if address:
            _init(ray, address=address)
        else:
            _start(ray, cpus)
    except Exception as error:  # of many kinds: ConnectionError, RuntimeError, bare ones
        raise EngineError(f"{_refusal(address, _first_line(error))}.") from error
    return ray


def _guard_own() -> None:
    """Let a Ray of our own answer this process and its children alone, by a word of its own.

    Ray would write one into ``~/.ray/auth_token`` and leave it there, where each Ray that the user
    starts later takes it up.
    """
    known = any(os.environ.get(name) for name in (MODE, TOKEN, TOKEN_FILE))
    if not known and not (Path.home() / ".ray" / "auth_token").exists():
        os.environ[TOKEN] = secrets.token_hex(32)  # Ray sets the mode itself


def require_room(ray: Any, cpus: int, gpus: float) -> None:
    """Refuse what no node will ever have, for which Ray would wait for ever.

    Args:
        ray: The module, connected to a cluster.
        cpus, gpus: Of a site in training.

    Raises:
        EngineError: No node has both.
    """
    wanted = {"CPU": float(cpus), "GPU": gpus}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(k, 0) >= v for k, v in wanted.items()) for node in nodes):
        most = {name: max(node.get(name, 0) for node in nodes) for name in wanted}
        raise EngineError(
            f"a site asks for {wanted['CPU']:g} CPUs and {wanted['GPU']:g} GPUs of one Ray "
            f"node, and no node has both (at most {most['CPU']:g} and {most['GPU']:g}); lower "
            "machine.threads or machine.ray.gpus, or start larger nodes."
        )


def _refusal(address: str, reason: str) -> str:
    if not address:
        return (
            f"a Ray of this machine's own does not start ({reason}); start one with `ray start "
            '--head` and give its address, or train with machine.engine = "processes"'
        )
    if address == "auto":
        return (
            f"no Ray cluster of this machine can be joined ({reason}); start one with `ray start "
            "--head`, or give the HOST:PORT of another in place of auto"
        )
    return (
        f"the Ray cluster at {address} cannot be joined ({reason}); `ray status` on its head "
        "prints the address: mend --ray-address or machine.ray.address"
    )


def _start(ray: Any, cpus: int) -> None:
    """A Ray of this machine's own; once more, since Ray gives a busy machine 15 seconds."""
    own: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False}
    try:
        _init(ray, address="local", **own)
    except Exception:  # of many kinds
        console.print("Ray did not start in time: once more")
        ray.shutdown()
        _init(ray, address="local", **own)


def _init(ray: Any, **words: Any) -> None:
    with _own_signal_handlers():
        ray.init(logging_level="error", **words)


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Undo what Ray does to signals: it would end a stopped command without our last words."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # one that no Python code has set
                    signal.signal(number, handler)


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}".rstrip(":. ")
