"""Contestants side by side: interleaved repetitions in one process, medians."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one run: CPU of all threads of this process, and wall."""

    cpu: float
    wall: float


def side_by_side(contestants: Sequence[Callable[[], object]], repetitions: int) -> list[Spent]:
    """Run each once to warm up, then all in turn; the median of each one's repetitions."""
    for run in contestants:
        run()
    spent: list[list[Spent]] = [[] for _ in contestants]
    for _ in range(repetitions):
        for run, seen in zip(contestants, spent, strict=True):
            seen.append(_measure(run))
    return [
        Spent(median(one.cpu for one in seen), median(one.wall for one in seen)) for seen in spent
    ]


def _measure(run: Callable[[], object]) -> Spent:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return Spent(time.process_time() - cpu, time.perf_counter() - wall)


def one_thread() -> None:
    """Give every library of this process one thread."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def machine(packages: Sequence[str]) -> str:
    """What of this machine matters for a figure, in one line; names the packages that are there."""
    listed = "".join(f", {name} {number}" for name in packages if (number := _version(name)))
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}{listed}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
