"""Torch's elastic launcher, started where a round is trained: one process a device.

Everything passes through a private folder, the processes' rendezvous too, and gradients over the
loopback interface: no port of this machine is open to another one.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import EnvironmentClashError, TrainingError
from echofm_core.training.context import LocalContext, RoundReport
from echofm_core.training.execution.job_folder import JobFolder, Terms
from echofm_core.training.execution.ranks import LOST_PEER
from echofm_core.training.execution.surroundings import (
    heard_signals,
    own_signals,
    quiet,
    without_store_server,
)
from echofm_core.training.objectives.phases import Model, phase_of

WORKER = "echofm_core.training.execution.worker"


def shared_round(
    model: Model, clips: ClipWindows, plan: Plan, context: LocalContext, devices: int
) -> RoundReport:
    """Train a round in as many processes; arguments as of :func:`rounds.train_round`."""
    terms = Terms(
        world=devices,
        device=device_kind(context.device, devices),
        threads=max(1, torch.get_num_threads() // devices),
        parent=os.getpid(),
    )
    where = f"site {context.site}, {phase_of(model)} round {context.round}"
    try:
        # Its owner's alone, and gone at the end: see tempfile.mkdtemp.
        with TemporaryDirectory(prefix="echofm-round-", ignore_cleanup_errors=True) as path:
            folder = JobFolder(Path(path))
            folder.give(model, clips, plan, context, terms)
            _launch(folder, devices, where)
            return folder.take_back(model)
    except SignalException as error:
        signal.raise_signal(error.sigval)  # now to whoever listened before
        raise


def device_kind(name: str, devices: int) -> str:
    """``cpu`` or ``cuda``, of which there are enough.

    Args:
        name: As the machine's settings have it.
        devices: How many are wanted.

    Raises:
        EnvironmentClashError: The name is of one device, or there are fewer GPUs.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = ("cuda" if gpus else "cpu") if name == "auto" else name
    if kind not in ("cpu", "cuda"):
        raise EnvironmentClashError(
            f"device {name!r} is one device, but devices = {devices} asks for several; use auto, "
            "cpu or cuda."
        )
    if kind == "cuda" and gpus < devices:
        raise EnvironmentClashError(
            f"devices = {devices} asks for {devices} GPUs, but this machine has {gpus}; lower "
            'devices, or train on processors with device = "cpu".'
        )
    return kind


def _launch(folder: JobFolder, world: int, where: str) -> None:
    """Start the processes and wait for them; all are gone at the end, however it comes.

    Raises:
        EchoFMError: One of them met it.
        TrainingError: One of them ended before its time.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=world,
        run_id=uuid.uuid4().hex,
        role="round",
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder.path / "rendezvous"),
        # The only launcher there is needs no heartbeats.
        rdzv_configs={"store_type": "file", "keep_alive_interval": 24 * 3600},
        max_restarts=0,
        local_addr="127.0.0.1",
        logs_specs=DefaultLogsSpecs(
            log_dir=str(folder.logs), redirects=dict.fromkeys(range(1, world), Std.ALL)
        ),
        **heard_signals(),
    )
    try:
        with without_store_server(), own_signals(), quiet():
            elastic_launch(config, sys.executable)("-m", WORKER, str(folder.path))
    except ChildFailedError as error:
        if complaint := folder.complaint(world):
            raise complaint from None
        cause = _cause(error.failures)
        _repeat(folder, cause.local_rank)
        raise TrainingError(_sentence(cause, world, where)) from None


def _cause(failures: Mapping[int, ProcessFailure]) -> ProcessFailure:
    """The process that ended first of itself."""
    followers = (LOST_PEER, -signal.SIGTERM)
    found = [item for item in failures.values() if item.exitcode not in followers]
    return min(found or failures.values(), key=lambda item: (item.timestamp, item.local_rank))


def _sentence(cause: ProcessFailure, world: int, where: str) -> str:
    name = f" ({signal.Signals(-cause.exitcode).name})" if cause.exitcode < 0 else ""
    return (
        f"{where}: rank {cause.local_rank} of {world} ended with exit code {cause.exitcode}{name}, "
        "and the others were ended; see what it said on standard error and whether memory was "
        "short, and start again (a round with save_every goes on where it was saved)."
    )


def _repeat(folder: JobFolder, rank: int) -> None:
    """Say what a process said; the first one's words went out at once."""
    for log in sorted(folder.logs.glob(f"**/{rank}/stderr.log")):
        sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
