"""Every error a user can meet: one tree, one exit code and one line of docs each.

Messages are one sentence that says what happened, where, what was expected, what was found and
what to do. They never hold a patient identifier. ``echofm errors`` prints the codes with their
remedies, and ``docs/reference/errors.md`` is written from the same classes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class EchoFMError(Exception):
    """Anything that ends a command with one clear sentence instead of a traceback."""

    exit_code = 1
    remedy = "read the sentence"


class PlanError(EchoFMError):
    """A plan, `site.toml` or option is not valid: unknown key or word, wrong type, out of range."""

    exit_code = 10
    remedy = "mend the key or option that is named; `echofm keys` prints all that a plan may hold"


class DataRootError(EchoFMError):
    """A data root is missing, or no known layout is there."""

    exit_code = 11
    remedy = "check `machine.roots`; folders are used exactly as downloaded"


class ManifestError(EchoFMError):
    """A manifest breaks its contract: missing column, label out of range, patient in two splits."""

    exit_code = 12
    remedy = "write it again with `echofm data index`"


class EmptySiteError(EchoFMError):
    """A site has nothing to train or to test on for what the plan asks."""

    exit_code = 13
    remedy = "check its folder, `protocol.views` and `protocol.min_patients`"


class UnreadableFileError(EchoFMError):
    """One file cannot be decoded. Readers turn it into a finding; it never ends a run."""

    #: Of the finding.
    kind = "undecodable"
    exit_code = 14
    remedy = "none in a run: it is quarantined; a command on one file ends with it"


class StoreError(EchoFMError):
    """A clip store is missing, incomplete, or does not fit the manifest or the disk."""

    exit_code = 15
    remedy = "free disk space, or build it again: it goes on where it stopped"


class CheckpointError(EchoFMError):
    """Weights do not fit the model: missing, unexpected or misshapen arrays."""

    exit_code = 16
    remedy = "use the plan that the weights were trained with"


class TrainingError(EchoFMError):
    """Training cannot go on, for instance because its time is over or one of its processes died."""

    exit_code = 17
    remedy = "look at the site's log"


class DivergedError(TrainingError):
    """Training diverged: its loss, gradients or weights are not finite, or far too large."""

    exit_code = 28
    remedy = "lower `finetune.learning_rate`, or the server's; look at the clips"


class PrivacyError(EchoFMError):
    """What was asked cannot be done privately, or the budget is spent. Never trains on."""

    exit_code = 18
    remedy = "raise the budget, or stop"


class SeenPatientsError(EchoFMError):
    """Patients to be scored are among those that the model was trained on."""

    exit_code = 19
    remedy = "score patients whom it never saw; `--seen` scores them all the same, and says so"


class FederationError(EchoFMError):
    """A round cannot be completed: too few sites answered, or none could be used."""

    exit_code = 20
    remedy = "the round's journal names each site and reason; then `--resume`"

    def __init__(
        self,
        sentence: str,
        reasons: Mapping[str, str] | None = None,
        codes: Mapping[str, int] | None = None,
    ) -> None:
        """Where a round had too few updates, it says of each site why.

        Args:
            sentence: What happened.
            reasons: Site -> why it did not count.
            codes: Site -> exit code of that error, where there is one.
        """
        super().__init__(sentence)
        self.reasons, self.codes = reasons or {}, codes or {}

    @property
    def diverged(self) -> bool:
        """Whether training diverged at every site that did not count, and nothing else failed."""
        codes = [self.codes.get(site) for site in self.reasons]
        return bool(codes) and set(codes) == {DivergedError.exit_code}


class RefusedUpdateError(EchoFMError):
    """A site's update failed admission. Journaled; the round goes on without it."""

    exit_code = 21
    remedy = "the round goes on without it; the journal says why"

    def __init__(self, sentence: str, cause: int | None = None) -> None:
        """``cause``: exit code of what went wrong at the site; by default this error's own."""
        super().__init__(sentence)
        self.cause = cause or self.exit_code


class ResumeError(EchoFMError):
    """A run folder cannot be continued: another plan, or a damaged journal."""

    exit_code = 22
    remedy = "the plan of that folder, or another `--out`"


class EngineError(EchoFMError):
    """A worker of a simulation or of a site died or did not start, or Ray cannot be reached."""

    exit_code = 23
    remedy = (
        "where one died, usually memory: fewer `workers`, smaller batches, then `--resume`; where "
        "Ray cannot be reached, its address"
    )


class PolicyError(EchoFMError):
    """A plan or a message asks a site for more than the site's own policy allows."""

    exit_code = 24
    remedy = "change the plan, or agree with the site on its `[policy]` in `site.toml`"


class AuditError(EchoFMError):
    """A site's audit or privacy ledger was changed or cut, or cannot be written; nothing leaves."""

    exit_code = 25
    remedy = "find out who wrote to the state folder; restore it, or make room, and start again"


class ReleaseError(EchoFMError):
    """A run cannot be released as it is, or a released folder is not what was signed."""

    exit_code = 26
    remedy = "finish the run; of a folder that fails, ask for it again, and for the signer's key"


class BundleError(EchoFMError):
    """A run's app bundle is not that of the package installed at the site; nothing of it ran."""

    exit_code = 27
    remedy = "submit plans with `echofm server run`, of the version that the sites have"


class NothingUsableError(EchoFMError):
    """Of all that was given, no clip can be used; the reasons were printed one by one."""

    exit_code = 31
    remedy = "read the reasons; `echofm data doctor` shows them beside the files"


class OutputError(EchoFMError):
    """A file or folder cannot be written or used: no permission, no such place, or a full disk."""

    exit_code = 32
    remedy = "make room, have it permitted, or choose another place; then the same command again"


class EnvironmentClashError(EchoFMError):
    """A package, tool or device is not on this machine, or another package has our names."""

    exit_code = 30
    remedy = "install or change what is named, or have a virtual environment of its own"


@contextmanager
def refusing(
    what: str, kind: type[EchoFMError] = UnreadableFileError, advice: str = ""
) -> Iterator[None]:
    """Make one error of all that a decoder raises; its own text may quote the file.

    Args:
        what: Which file, and what cannot be done; the start of the message.
        kind: Of the one error.
        advice: What to do, from a semicolon on; the end of the message.

    Raises:
        EchoFMError: Of that kind, as it was raised within or made of any other.
    """
    try:
        yield
    except kind:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise kind(f"{what} ({reason}){advice}.") from None
