"""Shows a run's finished rounds to the trackers that the plan names, and outlives them."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Self

from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.runtime.extras import install
from echofm_core.tracking._api import TrackedRound, Tracker
from echofm_core.tracking.config import TrackerName
from echofm_core.tracking.mlflow import STORE, Mlflow
from echofm_core.tracking.redaction import redacted
from echofm_core.tracking.tensorboard import TensorBoard

#: What the extra of a tracker must have brought.
NEEDED = {
    TrackerName.TENSORBOARD: ("tensorboard",),
    TrackerName.MLFLOW: ("mlflow", "sqlalchemy", "alembic"),
}
#: Longest part of a tracker's own words that is shown.
SHOWN = 300

#: (tracker, store): reported once in a process, though an experiment has many runs.
_reported: set[tuple[TrackerName, Path]] = set()


def require_trackers(names: Iterable[TrackerName]) -> None:
    """Check, before anything is read or trained, that trackers are installed.

    Args:
        names: Those of ``machine.track``.

    Raises:
        EnvironmentClashError: An extra is missing.
    """
    for name in names:
        missing = [module for module in NEEDED[name] if find_spec(module) is None]
        if missing:
            raise EnvironmentClashError(
                f'machine.track names "{name.value}", which needs the package {missing[0]}; '
                f"{install(name.value)}, or take it out of the plan."
            )


class Tracking:
    """The trackers of one run; use it in a ``with`` block around its rounds.

    Args:
        plan: ``machine.track`` names the trackers; without any, nothing happens.
        folder: Run folder.
        arm: Which model of an experiment this is.
        store: Folder of the experiment's local MLflow store; the run folder's ``mlruns`` by
            default.
    """

    def __init__(self, plan: Plan, folder: Path, *, arm: str, store: Path | None = None) -> None:
        self._store = store or folder / STORE
        self._live: dict[TrackerName, Tracker] = {}
        for name in dict.fromkeys(plan.machine.track):
            with self._unharmed(name):
                self._live[name] = (
                    TensorBoard(folder)
                    if name is TrackerName.TENSORBOARD
                    else Mlflow(folder, self._store, plan, arm)
                )

    def add(self, round_: TrackedRound) -> None:
        """Show a finished round; one that a tracker has already, as on resuming, is left alone."""
        for name, tracker in list(self._live.items()):
            with self._unharmed(name):
                tracker.add(round_)

    def __enter__(self) -> Self:
        """The trackers are open already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close them, and say whether the run came to its end."""
        for name, tracker in list(self._live.items()):
            with self._unharmed(name):
                tracker.close(finished=kind is None)

    @contextmanager
    def _unharmed(self, name: TrackerName) -> Iterator[None]:
        """A tracker that fails in the block, in whatever way, is done without from then on."""
        try:
            yield
        except Exception as error:
            self._live.pop(name, None)
            if (name, self._store) in _reported:
                return
            _reported.add((name, self._store))
            why = shorten(redacted(str(error)), SHOWN, placeholder=" ...")
            print(
                f"echofm: {name.value} does not take this run's rounds ({type(error).__name__}: "
                f"{why}); the run goes on without it, and a later --resume hands in what is "
                "missing.",
                file=sys.stderr,
                flush=True,
            )
