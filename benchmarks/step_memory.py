"""Peak memory of a few fine-tuning steps of one side, in a process of its own.

``python -m benchmarks.step_memory ours|peer|recipe fp32|bf16 DEVICE [--quick]`` prints MB above
what the process held once everything was imported: resident memory on a CPU, allocated on a GPU.
"""

from __future__ import annotations

import json
import threading
from enum import StrEnum
from types import TracebackType

import psutil
import torch

from benchmarks._command import command_line
from benchmarks.peers import echofm, videomae_hf
from benchmarks.training_step import BASE, QUICK, Learner, Setting, whole
from echofm_core.training.config import Precision

#: AdamW's moments exist from the first step's end, so the second has the peak; one to spare.
STEPS = 3
#: Seconds between two samples.
INTERVAL = 0.002


class Side(StrEnum):
    """Whose step."""

    OURS = "ours"
    PEER = "peer"
    RECIPE = "recipe"


class ResidentPeak(threading.Thread):
    """Watches this process within a ``with`` block.

    Attributes:
        peak: Most bytes above those at the start.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.process, self.done, self.peak = psutil.Process(), threading.Event(), 0
        self.base = self.process.memory_info().rss

    def run(self) -> None:
        """Sample until the block ends."""
        while not self.done.wait(INTERVAL):
            self.peak = max(self.peak, self.process.memory_info().rss - self.base)

    def __enter__(self) -> ResidentPeak:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.done.set()
        self.join()


def learner_of(side: Side, setting: Setting, device: torch.device) -> Learner:
    """The side's fine-tuning, built."""
    if side is Side.OURS:
        return echofm.predictor(setting, device, whole(setting.tune_batch, setting.pixels))
    peer, recipe = videomae_hf.predictor(setting, device)
    return peer if side is Side.PEER else recipe


def peak_of(side: Side, setting: Setting, precision: Precision, device: torch.device) -> int:
    """Bytes of model, gradients, moments and activations together."""
    with ResidentPeak() as resident:
        learner = learner_of(side, setting, device)
        for _ in range(STEPS):
            learner.step(precision)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resident.peak


def main() -> None:
    arguments = command_line(__doc__.splitlines()[0])
    arguments.add_argument("side", type=Side)
    arguments.add_argument("precision", type=Precision)
    arguments.add_argument("device", type=torch.device)
    arguments.add_argument("--quick", action="store_true")
    options = arguments.parse_args()
    setting = QUICK if options.quick else BASE
    peak = peak_of(options.side, setting, options.precision, options.device)
    print(json.dumps({"peak": peak / 2**20}))


if __name__ == "__main__":
    main()
