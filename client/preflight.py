"""What a hospital can know before its node starts: each line is checked, not assumed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from client.checks_data import DataChecks
from client.checks_machine import MachineChecks
from client.checks_network import NetworkChecks
from client.launch import load_site
from echofm_core.runtime.errors import EchoFMError, FederationError

#: Each check, in the order of repair, and those that must hold before it can be made.
CHECKS = {
    "settings": (),
    "manifest": ("settings",),
    "splits": ("manifest",),
    "labels": ("manifest",),
    **dict.fromkeys(("store", "state"), ("settings",)),
    "records": ("state",),
    **dict.fromkeys(("disk", "memory"), ("state", "store")),
    **dict.fromkeys(("shared_memory", "devices", "decoders"), ("settings",)),
    "step": ("splits", "store", "devices"),
    **dict.fromkeys(("port", "keys", "proxy", "address", "server"), ("settings",)),
    "clock": ("server",),
    "admission": ("keys", "server"),
}
#: Checks of a few seconds, and longer with a large model.
SLOW = ("step",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One check: its subject, what was found and what to do, and an exit code if it failed."""

    subject: str
    words: str
    exit_code: int = 0

    def __str__(self) -> str:
        """``ok: subject: words``, or ``FAIL: ...``."""
        return f"{'FAIL' if self.exit_code else 'ok'}: {self.subject}: {self.words}"


def preflight(
    folder: Path,
    port: int,
    *,
    quick: bool = False,
    begin: Callable[[str], None] = lambda subject: None,
) -> Iterator[Line]:
    """Check all that a start needs; what cannot be checked after an earlier fault has no line.

    Args:
        folder: The kit, with ``site.toml``.
        port: Local port of the node's own interface.
        quick: Leave out what takes more than an instant.
        begin: Called with the subject of a check that takes longer, before it is made.
    """
    checks, held = _Checks(folder, port), set[str]()
    for subject, needed in CHECKS.items():
        if not held.issuperset(needed) or (quick and subject in SLOW):
            continue
        if subject in SLOW:
            begin(subject)
        try:
            line = Line(subject=subject, words=getattr(checks, subject)())
            held.add(subject)
        except EchoFMError as error:
            line = Line(subject=subject, words=str(error), exit_code=error.exit_code)
        yield line


def lasting_fault(folder: Path, port: int) -> EchoFMError | None:
    """What keeps a node out however often it is started; None where that is not known.

    A server that does not answer is none: it may come back.
    """
    checks = _Checks(folder, port)
    try:
        for subject in ("settings", "keys", "server", "admission"):
            getattr(checks, subject)()
    except EchoFMError as error:
        passing = type(error) is FederationError
        return None if passing else error
    return None


class _Checks(DataChecks, MachineChecks, NetworkChecks):
    """The checks of a kit by subject: each returns what it found, or raises what is wrong."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number

    def settings(self) -> str:
        self.site = load_site(self.folder)
        file, rules = self.folder / "site.toml", self.site.policy.digest()
        return f"{file} of {self.site.name}; its [policy] has the hash {rules}"
