"""Running a plan on a started federation, and seeing it through to its end."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from echofm_core.runtime.errors import FederationError
from server.flower import ask, first_error, last_words, run_status, serving
from server.kit import CONNECTION, Kit
from server.last_run import note
from server.members import nodes, register
from server.watch import INTERVAL, Watcher, watch

#: Seconds that a ServerApp has to begin.
START = 60.0
#: Seconds for which the SuperLink may not answer.
LOST = 15.0
#: Seconds between two questions to the SuperLink.
ASK = 5.0


def submit(
    kit: Kit,
    plan: Path,
    run: Path,
    *,
    resume: bool = False,
    timeout: float = 0,
    show: Callable[[str], None] = lambda line: None,
) -> None:
    """Register the sites, run a plan on them, and wait until it ends.

    The run ends with this process: whoever stops waiting stops it.

    Args:
        kit: The provisioned federation; its SuperLink is running.
        plan: TOML plan.
        run: Run folder on this machine.
        resume: Go on with an interrupted run.
        timeout: Seconds to wait; 0 waits for ever.
        show: Hears each round and who took part.

    Raises:
        FederationError: The run could not be submitted, did not begin, took too long, lost its
            SuperLink, or failed in one of the ways that have no error of their own.
        EchoFMError: What ended the run at the ServerApp.
    """
    register(kit)
    with watch(kit.folder / "runs") as (path, seen):
        values = {"plan": plan.resolve(), "run-folder": run.resolve(), "watch": path}
        texts = [f'{key}="{value}"' for key, value in values.items()]
        members = " ".join(f"{name}={node}" for name, node in nodes(kit).items())
        texts += [f"resume={str(resume).lower()}", f'members="{members}"']
        note(path, run)
        log = kit.log("superexec")
        offset = log.stat().st_size if log.exists() else 0
        try:
            answer = ask(kit, "run", str(kit.bundle), CONNECTION, "-c", " ".join(texts))
        except FederationError as error:
            raise FederationError(f"the run was not accepted: {error}.") from None
        note(path, run, str(answer["run-id"]))
        _Run(kit, str(answer["run-id"]), seen, run, offset).follow(timeout, show)


class _Run:
    """A submitted run, and the ways in which it may be lost."""

    def __init__(self, kit: Kit, number: str, seen: Watcher, folder: Path, offset: int) -> None:
        self._seen = seen
        self._kit = kit
        self._number = number
        self._folder = folder
        self._offset = offset
        self._submitted = self._served = self._asked = time.monotonic()
        self._over = ""

    def follow(self, timeout: float, show: Callable[[str], None]) -> None:
        """Show what happens until the run ends; arguments and errors as of :func:`submit`."""
        started = time.monotonic()
        while True:
            while lines := self._seen.lines():  # what ended it comes after its last line
                for line in lines:
                    show(line)
            if self._seen.done:
                return
            self._check()
            if timeout and time.monotonic() - started >= timeout:
                raise FederationError(
                    f"the run did not end within {timeout:.0f} s, and was stopped."
                )
            time.sleep(INTERVAL)

    def _check(self) -> None:
        """Check whether it still can come to an end.

        A process that has ended may have given its reason just before, so it is read once more.

        Raises:
            FederationError: It cannot.
        """
        if self._over:
            log = self._kit.log("superexec")
            first = first_error(log, self._offset)
            found = f"; its first error: {first}" if first else ""
            last = last_words(log, self._offset)
            raise FederationError(
                f"{self._over}{found}; {log} ends with: {last}; go on with --resume."
            )
        if self._seen.begun and not self._seen.alive():
            self._over = "the ServerApp died"
            if not serving(self._kit.ports().health):
                self._over = "the SuperLink has gone, and the ServerApp with it: start it again"
            return
        now = time.monotonic()
        if now - self._asked < ASK:
            return
        self._asked = now
        if serving(self._kit.ports().health):
            self._served = now
            if not self._seen.begun:
                self._check_begin(now)
        elif now - self._served >= LOST:
            raise FederationError(
                f"the SuperLink has not answered for {LOST:g} s; start it again with `echofm "
                f"server start`, then go on with --resume ({self._folder} has what was done)."
            )

    def _check_begin(self, now: float) -> None:
        try:
            status, details = run_status(self._kit, self._number)
        except FederationError:  # no answer: the health service tells
            status, details = "unknown", ""
        if status.startswith("finished"):
            why = " ".join(details.split()) or "no details"
            self._over = f"the run ended as {status} before it began ({why})"
        elif now - self._submitted >= START:
            with suppress(FederationError):
                ask(self._kit, "stop", self._number, CONNECTION)
            self._over = f"the run did not begin within {START:g} s"
