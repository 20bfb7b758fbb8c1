"""Can every node of a Ray cluster train the sites? Found out before the first round.

Symptom: a site fails in the middle of a run, or its last bits differ. Reason: folders of sites are
paths, which a node sees only on a shared disk; and another version of torch rounds otherwise.
Protocol: this process writes a mark into the folder of the sites' states, and a task on each node
looks for it, for manifests and stores, loads the ClientApp, and names its software. Each later task
looks for its own site's files again. What can still go wrong: a node that joins later is not asked
for its software; kinds of CPU differ in last bits, which is a note.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from echofm_core.runtime.console import console
from echofm_core.runtime.errors import EngineError
from server.parking import scratch_path
from simulations.flower_private import NodeConfig
from simulations.workers import load_client_app

#: Seconds that a node has to start a process and look.
PATIENCE = 180.0
#: What to do about a path that a node does not see.
SHARED = "put the run folder (--out) and machine.cache on a disk that all nodes share, at one path"
#: Packages that decide last bits.
DECISIVE = ("torch", "numpy", "opacus", "timm")


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node has."""

    host: str
    missing: str
    """The first path that it does not see; empty: it sees all."""
    software: dict[str, str]
    """Package -> version."""
    cpu: str
    """The instructions that torch computes with there."""


def examine(client_app: str, read: Sequence[str], marks: Sequence[str]) -> NodeReport:
    """Look, on the node that runs this.

    Args:
        client_app: Where the ClientApp is.
        read: Files and folders that must exist.
        marks: Files that the asking process wrote; their folders must be writable.

    Raises:
        EngineError: The ClientApp cannot be loaded.
    """
    load_client_app(client_app)
    missing = next((path for path in (*read, *marks) if not Path(path).exists()), "")
    folders = {str(Path(mark).parent) for mark in marks}
    missing = missing or next((f for f in folders if not os.access(f, os.W_OK)), "")
    import torch

    software = {name: version(name) for name in DECISIVE}
    return NodeReport(
        socket.gethostname(), missing, software, torch.backends.cpu.get_cpu_capability()
    )


def require_files(node_config: NodeConfig) -> None:
    """Look for a site's files on the node that runs this.

    Raises:
        EngineError: One is missing.
    """
    for path in (str(node_config[key]) for key in ("manifest", "store")):
        if not Path(path).exists():
            raise EngineError(f"node {socket.gethostname()} does not see {path}; {SHARED}.")


def require_nodes(ray: Any, client_app: str, node_configs: Sequence[NodeConfig]) -> None:
    """Ask every node that is there now.

    Args:
        ray: The module, connected to a cluster.
        client_app: Where the ClientApp is.
        node_configs: Of the sites; each has ``manifest``, ``store`` and ``state``.

    Raises:
        EngineError: A node does not answer, does not see a folder, or has other software.
    """
    paths = {str(config[key]) for config in node_configs for key in ("manifest", "store")}
    console.print("asking the nodes of Ray for the data folders and their software")
    with _marks({Path(str(config["state"])) for config in node_configs}) as marks:
        here = examine(client_app, sorted(paths), marks)
        for address, report in _ask(ray, client_app, sorted(paths), marks):
            check_report(address, report, here)


def check_report(address: str, report: NodeReport, here: NodeReport) -> None:
    """Refuse a node on which a run would fail, or round otherwise.

    Raises:
        EngineError: It does not see a path, or has other versions than this process.
    """
    node = f"Ray node {address} ({report.host})"
    if report.missing:
        raise EngineError(
            f"{node} does not see {report.missing}, or may not write there; {SHARED}, or leave the "
            "node out."
        )
    for name, there in report.software.items():
        if there != (ours := here.software[name]):
            raise EngineError(
                f"{node} has {name} {there}, this machine {ours}, and results would depend on "
                "where a site is trained; install the same versions on all nodes."
            )
    if report.cpu != here.cpu:
        console.print(
            f"note: {node} computes with {report.cpu}, this machine with {here.cpu}: last bits may "
            "depend on where a site is trained",
            markup=False,
        )


def _ask(
    ray: Any, client_app: str, read: Sequence[str], marks: Sequence[str]
) -> Iterator[tuple[str, NodeReport]]:
    """Address and report of each node, which are asked at the same time."""
    on = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    asked = [
        (
            node["NodeManagerAddress"],
            ray.remote(
                num_cpus=0, max_retries=1, scheduling_strategy=on(node["NodeID"], soft=False)
            )(examine).remote(client_app, read, marks),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    for address, answer in asked:
        try:
            yield address, ray.get(answer, timeout=PATIENCE)
        except ray.exceptions.GetTimeoutError:
            raise EngineError(
                f"Ray node {address} does not answer within {PATIENCE:.0f} s; `ray status` shows "
                "the nodes."
            ) from None
        except ray.exceptions.RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise EngineError(
                f"Ray node {address} cannot run this software: {reason} Install the same "
                "environment on all nodes."
            ) from error


@contextmanager
def _marks(states: Iterable[Path]) -> Iterator[list[str]]:
    """A file in the next folder above each state that is there; removed afterwards."""
    folders = {next(up for up in (state, *state.parents) if up.is_dir()) for state in states}
    paths = [scratch_path(folder, "shared") for folder in sorted(folders)]
    try:
        for path in paths:
            path.touch()
        yield [str(path) for path in paths]
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
