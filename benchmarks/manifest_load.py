"""Load, validate and split one manifest: ``python -m benchmarks.manifest_load FILE``.

Prints wall seconds, imports excluded, and the peak memory of the process in MB, imports included.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def main(file: Path) -> dict[str, float]:
    from echofm_core.data.manifest import load_manifest
    from echofm_core.plan.protocol import ProtocolConfig, ProtocolName
    from simulations.protocols.assign import assign_sites

    started = time.perf_counter()
    manifest = load_manifest(file)
    for name in (ProtocolName.INSTITUTION, ProtocolName.DIRICHLET):
        assign_sites(manifest, ProtocolConfig(name=name, clients=8), seed=1)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": _peak()}


def _peak() -> float:
    """Most memory that this process has held, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure begins with that of the process that started this one
        line = next(line for line in status.read_text().splitlines() if "VmHWM" in line)
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
