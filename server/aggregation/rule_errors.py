"""What goes wrong while a user's own rule runs, as one sentence that names its line.

Symptom: a mistake in a rule of the user's reads as a bug of this package, and a rule that calls
``sys.exit(0)`` ends a command as if all were done. Reason: its methods run inside the round loop.
Protocol: an exception that has passed through the rule's file is the rule's, and becomes a
:class:`PlanError`; what the loop then works with is checked as it is given.
"""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

import numpy as np

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.runtime.errors import EchoFMError, PlanError
from server.aggregation._api import Fold, State
from server.aggregation.own_rule import file_of

#: A part of a state is a file of this name.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STATE = "expected pairs of a name (letters, digits, - and _) and a dict of arrays by name"


@contextmanager
def naming_own_rule(plan: Plan) -> Iterator[None]:
    """Let an exception that a plan's own rule raises, or lets through, be an error that names it.

    Without an own rule nothing is caught. Errors of this package (a full disk, say) stay.

    Raises:
        PlanError: Where the rule failed, and with what.
    """
    try:
        yield
    except (EchoFMError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if plan.federation.aggregation is not Aggregation.CUSTOM:
            raise
        if not (place := _place(error.__traceback__, file_of(plan))):
            raise
        line = " ".join(str(error).split())
        raise PlanError(
            f"the plan's own rule {file_of(plan)} failed {place} ({type(error).__name__}: {line}); "
            "mend it, and begin another run: the file is part of the plan's hash."
        ) from error


def _place(trace: TracebackType | None, file: str) -> str:
    """Where in a file an exception has passed last; empty: it has not."""
    passed = [frame for frame in traceback.extract_tb(trace) if frame.filename == file]
    return f"in line {passed[-1].lineno}, in {passed[-1].name}" if passed else ""


def check_fold(fold: Fold) -> None:
    """What an own rule's ``start`` gives can take in replies.

    Raises:
        PlanError: It lacks a method of :class:`~server.aggregation.Fold`.
    """
    for method in ("add", "finish"):
        if not callable(getattr(fold, method, None)):
            raise PlanError(
                f"start() of the plan's own rule gives {type(fold).__name__}, which has no "
                f"{method}(); expected a WeightedMean, an EveryReply or a Fold of its own."
            )


def checked_state(state: State) -> State:
    """What an own rule's ``state`` gives, part by part, each of arrays by name.

    Raises:
        PlanError: It is something else, as soon as that is met.
    """
    if not isinstance(state, Iterable):
        raise PlanError(f"state() of the plan's own rule gives {state!r:.80}, {_STATE}.")
    for part in state:
        _check_part(part)
        yield part
        del part  # or it would stay while the next one is made


def _check_part(part: object) -> None:
    match part:
        case (str(name), dict(arrays)) if _NAME.fullmatch(name):
            bad = [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]
            if bad:
                found = type(arrays[bad[0]]).__name__
                raise PlanError(
                    f"state() of the plan's own rule gives {bad[0]} as {found}, {_STATE}."
                )
        case _:
            raise PlanError(f"state() of the plan's own rule gives {part!r:.80}, {_STATE}.")
