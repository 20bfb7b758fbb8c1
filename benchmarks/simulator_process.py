"""One contestant in a process of its own: CPU seconds and peak memory of its process tree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: Seconds between two samples.
INTERVAL = 0.1
#: One thread a process, nothing asked of the network, and Ray's workers at normal priority: beside
#: other work they would hardly come to run.
ENVIRONMENT = {
    "RAY_worker_niceness": "0",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree took.

    Attributes:
        cpu: User and system seconds, imports included. Exact of a single process; of a tree the
            sum of the last samples, which is a little less than it took.
        peak: MB, the largest of the sampled sums of proportional set sizes, and no less than the
            most that the first process had resident (Linux).
        printed: The last line of its output, JSON.
    """

    cpu: float
    peak: float
    printed: Any


def measure(contestant: str, workload: str, arguments: Sequence[str] = ()) -> Usage:
    """Run a contestant of ``benchmarks/peers`` and watch its process tree.

    Args:
        contestant: Module there.
        workload: Name of a workload.
        arguments: Further ones.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", f"benchmarks.peers.{contestant}", workload, *arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdout=out, stderr=errors
        )
        root, peak, seen = psutil.Process(process.pid), 0.0, dict[int, float]()
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            peak = max(peak, _sample(root, seen), _most_resident(root.pid))
            time.sleep(INTERVAL)
        process.returncode = os.waitstatus_to_exitcode(status)  # Popen does not wait any more
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            tail = errors.read().decode(errors="replace")[-800:]
            raise RuntimeError(f"{contestant} failed on {workload}: {tail}")
        printed = json.loads(out.read().splitlines()[-1])
    cpu = max(used.ru_utime + used.ru_stime, sum(seen.values()))
    return Usage(cpu=cpu, peak=peak, printed=printed)


def _sample(root: psutil.Process, seen: dict[int, float]) -> float:
    """MB of the tree now; CPU seconds of each process go to ``seen``, by process id."""
    memory = 0.0
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0.0
    for item in tree:
        try:
            times = item.cpu_times()
            # Children that have ended are in none of the samples to come: keep the last.
            seen[item.pid] = times.user + times.system
            memory += item.memory_full_info().pss / 2**20
        except psutil.Error:
            continue
    return memory


def _most_resident(pid: int) -> float:
    """MB that a process had resident at most; ``ru_maxrss`` would count its parent's as well."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 2**10 if found else 0.0
