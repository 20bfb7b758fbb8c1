"""Replay or hunt: ``python -m tests.data.fuzz avi --from 0 --count 10000``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.data.fuzz import harness, worker


def main() -> int:
    """Run cases and print the report; 1 where one hurts."""
    parser = argparse.ArgumentParser(prog="python -m tests.data.fuzz", description=__doc__)
    parser.add_argument("format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of a case")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="write the first case's file there")
    asked = parser.parse_args()
    if asked.keep:
        with tempfile.TemporaryDirectory() as folder:
            format_ = worker.load(asked.format)
            seeds = list(format_.plant(Path(folder)))
            sound = {one.file: one.file.read_bytes() for one in seeds}
            case = worker.build(format_, seeds, sound, asked.seed, asked.first)
            name = f"{asked.format}-{asked.seed}-{asked.first}{''.join(case.seed.file.suffixes)}"
            (asked.keep / name).write_bytes(case.data)
    report = harness.run(asked.format, asked.seed, range(asked.first, asked.first + asked.count))
    print(*report.failures, sep="\n")
    print(
        f"{asked.format}: {report.outcomes.total()} cases in {report.seconds:.0f} s, the slowest "
        f"in {report.slowest:.2f} s: {dict(report.outcomes)}"
    )
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
