"""Which GPU a site of a simulation trains on, and when there is room for it.

Symptom: all workers take the first GPU, and one more site than fits fails for lack of memory.
Reason: PyTorch gives a process the first one, and nobody counts. Protocol: workers keep one ledger,
a file under a lock in the folder that they share. A worker takes the GPU that fewest others have,
and keeps it. The first training of a kind has its GPU for itself and is measured; later ones wait
until what they took at most is free, beside what those at work may take. Who asked first goes
first. A worker that dies frees its room, since each holds a lock while it lives. What can still go
wrong: a site needs more than the one that was measured; programs of others take memory while a site
trains. A site that runs out of memory answers with that error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from echofm_core.runtime.file_lock import file_lock, is_locked
from echofm_core.runtime.files import write_whole

#: Where Linux shows a driver (Nvidia's, Windows' own, AMD's): without one PyTorch is not loaded.
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
#: Seconds from one question for room to the next.
PATIENCE = 0.05
#: Bytes that a process takes on a GPU beside its arrays: CUDA's context, kernels, workspaces. A
#: guess on the safe side; it was not measured.
CONTEXT = 800 * 2**20


class Gpus(Protocol):
    """The GPUs of a machine, as a process sees them."""

    def count(self) -> int:
        """How many there are."""

    def memory(self, gpu: int) -> tuple[int, int]:
        """Bytes of one that are free, and all."""

    def begin(self, gpu: int) -> None:
        """From now on this process's memory on it is measured."""

    def end(self, gpu: int) -> int:
        """Give back what is not used; bytes that the process has had at most since, 0: none."""


class Cuda:
    """PyTorch's."""

    def count(self) -> int:
        """How many there are; 0 without CUDA."""
        if sys.platform == "linux" and not any(Path(file).exists() for file in DRIVERS):
            return 0
        import torch

        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def memory(self, gpu: int) -> tuple[int, int]:
        """Bytes of one that are free, and all."""
        import torch

        return torch.cuda.mem_get_info(gpu)

    def begin(self, gpu: int) -> None:
        """From now on this process's memory on it is measured."""
        import torch

        torch.cuda.set_device(gpu)
        torch.cuda.reset_peak_memory_stats(gpu)

    def end(self, gpu: int) -> int:
        """Give back what is not used; bytes that the process has had at most since, 0: none."""
        import torch

        peak = torch.cuda.max_memory_reserved(gpu)
        torch.cuda.empty_cache()
        return peak + CONTEXT if peak else 0


class Packing:
    """A worker's view of the ledger.

    Args:
        folder: That all workers share.
        gpus: Of this machine.
        worker: Its number, which no other living worker has; this process's if left out.
    """

    def __init__(self, folder: Path, gpus: Gpus | None = None, worker: int = 0) -> None:
        self._folder = folder
        self._gpus = gpus or Cuda()
        self._name = f"gpu-worker-{worker or os.getpid()}"
        self._gpu: int | None = None
        self._life = ExitStack()

    @property
    def possible(self) -> bool:
        """Whether this machine has a GPU."""
        return self._gpus.count() > 0

    @contextmanager
    def room(self, kind: str) -> Iterator[int]:
        """Wait for room, and hold it for the time of the block.

        Args:
            kind: Trainings of one kind take about as much memory.

        Yields:
            Number of the GPU, the same each time.
        """
        if self._gpu is None:
            self._gpu = self._choose()
        while not self._take(self._gpu, kind):
            time.sleep(PATIENCE)
        peak = 0
        try:
            self._gpus.begin(self._gpu)
            try:
                yield self._gpu
            finally:
                peak = self._gpus.end(self._gpu)
        finally:
            self._leave(kind, peak)

    def _choose(self) -> int:
        """The GPU that fewest living workers have; it is this one's from now on."""
        with self._ledger() as ledger:
            workers = [worker["gpu"] for worker in ledger["workers"].values()]
            gpu = min(range(self._gpus.count()), key=workers.count)
            self._life.enter_context(file_lock(self._folder / self._name))
            ledger["workers"][self._name] = {"gpu": gpu, "bytes": 0, "turn": 0}
        return gpu

    def _take(self, gpu: int, kind: str) -> bool:
        """Whether there is room, and nobody waits for longer: then it is this worker's."""
        with self._ledger() as ledger:
            own = ledger["workers"][self._name]
            if not own["turn"]:
                own["turn"] = ledger["turns"] = ledger["turns"] + 1
            others = [
                worker
                for name, worker in ledger["workers"].items()
                if worker["gpu"] == gpu and name != self._name
            ]
            free, total = self._gpus.memory(gpu)
            at_work = sum(worker["bytes"] for worker in others)
            if not at_work:
                ledger["foreign"][str(gpu)] = total - free
            need = ledger["peaks"].get(kind, total)  # not measured: all of it
            room = min(free, total - ledger["foreign"].get(str(gpu), 0) - at_work)
            earlier = any(0 < worker["turn"] < own["turn"] for worker in others)
            if earlier or (at_work and need > room):
                return False
            own.update(bytes=need, turn=0)
            return True

    def _leave(self, kind: str, peak: int) -> None:
        """Free the room; with ``peak`` 0 nothing was measured."""
        with self._ledger() as ledger:
            ledger["workers"][self._name]["bytes"] = 0
            if peak:
                ledger["peaks"][kind] = max(peak, ledger["peaks"].get(kind, 0))

    @contextmanager
    def _ledger(self) -> Iterator[dict[str, Any]]:
        """The file's content, for whoever has it alone; it is written when the block ends.

        Yields:
            ``peaks``: most bytes of each kind. ``workers``, the living: ``gpu``, ``bytes`` that it
            holds, and its ``turn``, 0 where it does not wait. ``turns``: how many were given.
            ``foreign``: bytes of each GPU that were not free when no worker trained there.
        """
        path = self._folder / "gpus.json"
        with file_lock(self._folder / "gpus.lock", wait=True):
            new: dict[str, Any] = {"peaks": {}, "workers": {}, "turns": 0, "foreign": {}}
            ledger: dict[str, Any] = json.loads(path.read_text()) if path.exists() else new
            ledger["workers"] = {
                name: worker
                for name, worker in ledger["workers"].items()
                if name == self._name or is_locked(self._folder / name)
            }
            yield ledger
            write_whole(path, json.dumps(ledger).encode(), durable=False)
