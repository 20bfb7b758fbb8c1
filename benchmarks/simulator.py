"""CPU seconds and peak memory of our simulator, of a plain loop, and of Flower's Ray backend.

``python -m benchmarks.simulator``: each contestant runs in its own process, one after the other, on
the workloads of ``benchmarks/workloads.py``. CPU is user + system of the whole process tree,
imports included; memory is the tree's proportional set size, sampled. Ray is skipped where it is
not installed (``pip install -e ".[ray]"``).
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from benchmarks._rows import Bar, Row, finish, parser

#: Seconds between two samples.
INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds and peak memory in MB of a process tree."""

    cpu: float
    peak: float


def measure(contestant: str, workload: str) -> Usage:
    """Run one contestant and watch its process tree.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", f"benchmarks.peers.{contestant}", workload]
    quiet = {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        command, env={**os.environ, **quiet}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    root, peak, seen = psutil.Process(process.pid), 0.0, {}
    while process.poll() is None:
        memory = 0.0
        for item in _tree(root):
            try:
                times = item.cpu_times()
                # Children that have ended are in none of the samples to come: keep the last.
                seen[item.pid] = times.user + times.system
                memory += item.memory_full_info().pss / 2**20
            except psutil.Error:
                continue
        peak = max(peak, memory)
        time.sleep(INTERVAL)
    if process.returncode:
        tail = process.stderr.read().decode(errors="replace")[-800:] if process.stderr else ""
        raise RuntimeError(f"{contestant} failed on {workload}: {tail}")
    return Usage(cpu=sum(seen.values()), peak=peak)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def main() -> None:
    options = parser(__doc__.splitlines()[0]).parse_args()
    with_ray = importlib.util.find_spec("ray") is not None
    rows: list[Row] = []
    for workload, most in (("small", 1.2), ("wire", 1.5)):
        plain, ours = measure("plain_loop", workload), measure("ours", workload)
        rows.append(
            Row(f"{workload}: CPU s, plain loop", ours.cpu, plain.cpu, Bar("at most", most))
        )
        rows.append(Row(f"{workload}: peak MB, plain loop", ours.peak, plain.peak))
        if workload == "wire":
            rows.append(Row("wire: peak MB", ours.peak, bar=Bar("at most", 600)))
        if with_ray:
            ray = measure("flower_ray", workload)
            rows.append(
                Row(f"{workload}: CPU s, Flower + Ray", ours.cpu, ray.cpu, Bar("at most", 1 / 3))
            )
            rows.append(Row(f"{workload}: peak MB, Flower + Ray", ours.peak, ray.peak))
    if not with_ray:
        print('Flower + Ray: not measured, ray is not installed (pip install -e ".[ray]")')
    finish(rows, options.json)


if __name__ == "__main__":
    main()
