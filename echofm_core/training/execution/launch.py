"""Torch's elastic launcher, started where a round is trained: one process a device.

Symptom: a process dies, and the others wait for it for ever, or all end without a reason. Reason:
they meet in every step to sum gradients, and each then fails of the loss of another. Protocol: the
launcher starts all, ends all when one ends, and the first that failed of itself is named. All
passes through a private folder, the rendezvous too, and gradients over the loopback interface: no
port of this machine is open to another one. What can still go wrong: a device that hangs without an
error holds the round until the process group's time-out.
"""

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.errors import PrivacyError, TrainingError
from echofm_core.training.execution.devices import find_devices
from echofm_core.training.execution.job_folder import LOGS, JobFolder, Terms
from echofm_core.training.execution.ranks import LOST_PEER
from echofm_core.training.objectives.phases import Model, own_round, phase_of
from echofm_core.training.steps.job import LocalContext, RoundReport

#: What the launcher ends its processes on.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def train_round(model: Model, clips: ClipWindows, plan: Plan, context: LocalContext) -> RoundReport:
    """Train one round on one device of this machine or on several; the model is changed in place.

    Where ``context.execution`` names several devices, they share each batch; the result is the same
    up to rounding.

    Raises:
        EmptySiteError: There are no clips, or none has a label.
        DivergedError: The loss stays non-finite.
        TrainingError: A process of several ended before its time.
        PrivacyError: Privacy was asked for and cannot be had, or its budget is spent.
        EnvironmentClashError: There are fewer devices than that.
    """
    devices = context.execution.devices
    if devices == 1:
        return own_round(model, clips, plan, context)
    if context.privacy.kind is not PrivacyKind.NONE:
        raise PrivacyError(
            f"site {context.site} has devices = {devices}, but a private round draws its noise "
            "once and runs on one device; set devices = 1."
        )
    terms = Terms(
        world=devices,
        device=find_devices(context.execution.device, devices),
        threads=max(1, torch.get_num_threads() // devices),
        parent=os.getpid(),
    )
    where = f"site {context.site}, {phase_of(model)} round {context.round}"
    try:
        # Its owner's alone, and gone at the end: see tempfile.mkdtemp.
        with TemporaryDirectory(prefix="echofm-round-", ignore_cleanup_errors=True) as path:
            folder = JobFolder(Path(path))
            folder.write_job(model, clips, plan, context, terms)
            _launch(folder, devices, where)
            return folder.read_result(model)
    except SignalException as error:
        signal.raise_signal(error.sigval)  # now to whoever listened before
        raise


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
            log_dir=str(folder.path / LOGS), redirects=dict.fromkeys(range(1, world), Std.ALL)
        ),
        **handled_signals(),
    )
    try:
        with without_store_server(), restored_handlers(), quiet_launcher():
            worker = ("-m", "echofm_core.training.execution.worker", str(folder.path))
            elastic_launch(config, sys.executable)(*worker)
    except ChildFailedError as error:
        if reported := folder.read_error(world):
            raise reported from None
        cause = _cause(error.failures)
        rank, code = cause.local_rank, cause.exitcode
        # What the first process wrote was printed at once.
        for log in sorted((folder.path / LOGS).glob(f"**/{rank}/stderr.log")):
            sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
        name = f" ({signal.Signals(-code).name})" if code < 0 else ""
        raise TrainingError(
            f"{where}: rank {rank} of {world} ended with exit code {code}{name}, "
            "and the others were ended; see what it wrote to standard error and whether memory was "
            "short, and start again (a round with save_every goes on where it was saved)."
        ) from None


def _cause(failures: Mapping[int, ProcessFailure]) -> ProcessFailure:
    """The process that ended first of itself."""
    followers = (LOST_PEER, -signal.SIGTERM)
    found = [item for item in failures.values() if item.exitcode not in followers]
    return min(found or failures.values(), key=lambda item: (item.timestamp, item.local_rank))


def handled_signals() -> dict[str, Any]:
    """Leave ignored signals ignored (nohup), where this torch has a setting for it."""
    if "signals_to_handle" not in {field.name for field in fields(LaunchConfig)}:
        return {}
    handled = [item.name for item in SIGNALS if signal.getsignal(item) is not signal.SIG_IGN]
    return {"signals_to_handle": ",".join(handled)}


@contextmanager
def restored_handlers() -> Iterator[None]:
    """Give signal handlers back, which the launcher takes and keeps."""
    if threading.current_thread() is not threading.main_thread():
        yield  # there it takes none
        return
    before = {item: signal.getsignal(item) for item in SIGNALS}
    try:
        yield
    finally:
        for item, handler in before.items():
            if handler is not None:
                signal.signal(item, handler)


@contextmanager
def without_store_server() -> Iterator[None]:
    """Keep the launcher from serving a store for its processes, on all interfaces."""
    name = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def quiet_launcher() -> Iterator[None]:
    """Keep the launcher's own messages back: the error says what they say."""
    log = logging.getLogger("torch.distributed.elastic")
    nothing, before = logging.NullHandler(), log.propagate
    log.addHandler(nothing)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(nothing)
        log.propagate = before
