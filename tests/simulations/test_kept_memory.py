"""Freed memory stays in the process: seen in the page faults of a child that frees and takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from simulations.memory import keep_freed_memory

CHILD = """
import resource, sys
import numpy as np
from simulations.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def model():
    return [np.ones(500_000, np.float32) for _ in range(20)]
model()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    model()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
def test_second_model_faults_no_pages() -> None:
    """5 models of 40 MB are 48 828 pages of 4 kB; kept, next to none is faulted in again."""

    def faults(mode: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, mode], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults("keep") < 2_000
    assert faults("keep") < faults("default")
