"""A pool of threads that does not hold up a command that is to stop."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from echofm_core.runtime.stopping import Stopped


@contextmanager
def thread_pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Like the pool itself, but what has not begun is dropped when the block ends by an error.

    On :class:`Stopped` nobody waits for what has begun either: the process ends (``leave``).
    """
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    except BaseException as error:
        pool.shutdown(wait=not isinstance(error, Stopped), cancel_futures=True)
        raise
    pool.shutdown()
