"""What holds for all tests: one thread a process, since `make test` runs several side by side."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from echofm_core.runtime.forks import load_before_forks
from tests.support.commands import Echofm, command
from tests.support.forks import Forks, loaded

#: Before torch and numpy are loaded; what a test starts takes it along.
os.environ["OMP_NUM_THREADS"] = os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Begun in the background of a shell; what the tests start would be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: tests that wait for other processes leave their cores idle."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux
    return 2 + (len(affinity(0)) if affinity else os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, so that no worker is left alone with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def _parent_of_workers() -> None:
    """What processes of pools are forked from has loaded what any of them needs."""
    from simulations.workers import PRELOADED

    load_before_forks(*PRELOADED)


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Python processes that need not load other people's libraries."""
    with loaded() as parent:
        yield parent


@pytest.fixture(scope="session")
def echofm(forks: Forks) -> Echofm:
    """The command ``echofm``, in a process of its own each time."""
    return command(forks)
