"""Load, validate and split one manifest: ``python -m benchmarks.manifest_load FILE``.

Prints seconds, imports excluded, and the peak memory of the process in MB, imports included.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def main(file: Path) -> dict[str, float]:
    from echofm_core.data.manifest import load_manifest
    from echofm_core.plan import ProtocolConfig, ProtocolName
    from simulations.protocols.assign import assign_sites

    started = time.perf_counter()
    manifest = load_manifest(file)
    for name in (ProtocolName.INSTITUTION, ProtocolName.DIRICHLET):
        assign_sites(manifest, ProtocolConfig(name=name, clients=8), seed=1)
    seconds = time.perf_counter() - started
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {"seconds": seconds, "peak": peak}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
