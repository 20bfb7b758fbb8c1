"""A site's node is started again when it ends, until somebody stops it or it cannot be mended so.

Symptom: a hospital's node is killed at night, and the site misses every round until somebody looks.
Reason: a SuperNode ends when the server refuses it, and a server refuses one that was lost until it
has missed it for about a minute. Protocol: each end is shown; starts follow each other shortly
until a lost node must have been let in again, and then each waits twice as long as the one before;
a node that ran for a while begins anew. A wrong key, a certificate that is not the kit's, or
settings that no longer hold end it: no start mends those.
What can still go wrong: a node that hangs does not end, and nothing here sees it.
"""

import time
from collections.abc import Callable
from typing import NoReturn

from echofm_core.runtime.errors import EchoFMError

#: Seconds before the next start: at first, and at most.
FIRST, LONGEST = 5.0, 60.0
#: Seconds after the first end by when a server has let a lost node in again. Flower: two heartbeats
#: of 30 s; the rest is for starts, of some seconds each.
LET_IN = 90.0
#: Seconds after which a node that ends had been well: one that is refused ends within a few.
STEADY = 30.0


def supervise(
    run: Callable[[], int],
    fault: Callable[[], EchoFMError | None],
    show: Callable[[str], None],
) -> NoReturn:
    """Run a node, again and again.

    Args:
        run: Starts it, waits for its end, and gives its exit code.
        fault: What a further start would not mend; None: nothing that is known.
        show: Shows a sentence.

    Raises:
        EchoFMError: What ``fault`` gave.
    """
    wait, ended = FIRST, time.monotonic()
    while True:
        started = time.monotonic()
        code = run()
        if time.monotonic() - started >= STEADY:
            wait, ended = FIRST, time.monotonic()
        if found := fault():
            raise found
        show(
            f"the SuperNode ended with exit code {code}, see above; it is started again in "
            f"{wait:g} s. A server lets a lost node back in after about a minute; Ctrl-C stops."
        )
        time.sleep(wait)
        if time.monotonic() - ended >= LET_IN:
            wait = min(2 * wait, LONGEST)
