"""Which GPU a site of a simulation trains on, and when there is room for it.

Symptom: all workers take the first GPU, and one more site than fits fails for lack of memory.
Reason: PyTorch gives a process the first one, and nobody counts. Protocol: workers keep one ledger,
a file under a lock in the folder that they share. A worker takes the GPU that fewest others have,
and keeps it. The first training of a kind has its GPU for itself and is measured; later ones wait
until what they took at most is free, beside what those at work may take. A worker that dies frees
its place, since places are locks. What can still go wrong: a site needs more than the one that was
measured; programs of others take memory while a site trains. A site that runs out of memory answers
with that error.
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
#: Seconds between two looks for room.
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
        """Give back what is not used; bytes that the process has had at most since."""


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
        """Give back what is not used; bytes that the process has had at most since."""
        import torch

        peak = torch.cuda.max_memory_reserved(gpu) + CONTEXT
        torch.cuda.empty_cache()
        return peak


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
        self._gpus.begin(self._gpu)
        try:
            yield self._gpu
        finally:
            self._leave(kind, self._gpus.end(self._gpu))

    def _choose(self) -> int:
        """The GPU that fewest living workers have; it is this one's from now on."""
        with self._ledger() as ledger:
            workers = [place["gpu"] for place in ledger["places"].values()]
            gpu = min(range(self._gpus.count()), key=workers.count)
            self._life.enter_context(file_lock(self._folder / self._name))
            ledger["places"][self._name] = {"gpu": gpu, "bytes": 0}
        return gpu

    def _take(self, gpu: int, kind: str) -> bool:
        """Whether there is room: then it is this worker's."""
        with self._ledger() as ledger:
            free, total = self._gpus.memory(gpu)
            need = ledger["peaks"].get(kind, total)  # not measured: all of it
            others = sum(
                place["bytes"] for place in ledger["places"].values() if place["gpu"] == gpu
            )
            if others and need > min(free, total - others):
                return False
            ledger["places"][self._name]["bytes"] = need
            return True

    def _leave(self, kind: str, peak: int) -> None:
        with self._ledger() as ledger:
            ledger["places"][self._name]["bytes"] = 0
            ledger["peaks"][kind] = max(peak, ledger["peaks"].get(kind, 0))

    @contextmanager
    def _ledger(self) -> Iterator[dict[str, Any]]:
        """Most bytes of each kind, and the places of living workers; whoever has it, alone."""
        path = self._folder / "gpus.json"
        with file_lock(self._folder / "gpus.lock", wait=True):
            ledger = json.loads(path.read_text()) if path.exists() else {"peaks": {}, "places": {}}
            living = {
                name: place
                for name, place in ledger["places"].items()
                if name == self._name or is_locked(self._folder / name)
            }
            ledger["places"] = living
            yield ledger
            write_whole(path, json.dumps(ledger).encode(), durable=False)
