"""Every error a user can meet: one tree, one exit code and one line of docs each.

Messages are one sentence that says what happened, where, what was expected, what was found and
what to do. They never hold a patient identifier. The codes are listed with their remedies in
``docs/reference/errors.md``; a test keeps both in step.
"""

from __future__ import annotations


class EchoFMError(Exception):
    """Anything that ends a command with one clear sentence instead of a traceback."""

    exit_code = 1


class PlanError(EchoFMError):
    """The plan is not valid: unknown key, wrong type, value out of its range."""

    exit_code = 10


class DataRootError(EchoFMError):
    """A data root is missing, or no known layout is there."""

    exit_code = 11


class ManifestError(EchoFMError):
    """A manifest breaks its contract: missing column, label out of range, patient in two splits."""

    exit_code = 12


class EmptySiteError(EchoFMError):
    """A site has nothing to train or to test on for what the plan asks."""

    exit_code = 13


class UnreadableFileError(EchoFMError):
    """One file cannot be decoded. Readers turn it into a finding; it never ends a run."""

    exit_code = 14


class StoreError(EchoFMError):
    """A clip store is missing, incomplete, or does not fit the manifest or the disk."""

    exit_code = 15


class CheckpointError(EchoFMError):
    """Weights do not fit the model: missing, unexpected or misshapen arrays."""

    exit_code = 16


class TrainingError(EchoFMError):
    """Training cannot go on, for instance because the loss stays non-finite."""

    exit_code = 17


class PrivacyError(EchoFMError):
    """What was asked cannot be done privately, or the budget is spent. Never trains on."""

    exit_code = 18


class FederationError(EchoFMError):
    """A round cannot be completed: too few sites answered, or none could be used."""

    exit_code = 20


class RefusedUpdateError(EchoFMError):
    """A site's update failed admission. Journaled; the round goes on without it."""

    exit_code = 21


class ResumeError(EchoFMError):
    """A run folder cannot be continued: another plan, or a damaged journal."""

    exit_code = 22


class EngineError(EchoFMError):
    """A simulation worker died or could not be started."""

    exit_code = 23


class NothingUsableError(EchoFMError):
    """Of all that was given, no clip can be used; the reasons were printed one by one."""

    exit_code = 31
    remedy = "read the reasons; `echofm data doctor` shows them beside the files"


class OutputError(EchoFMError):
    """What a command writes cannot be written: no permission, no such place, or a full disk."""

    exit_code = 32
    remedy = "make room, or choose another `--out`; then run the same command again"


class EnvironmentClashError(EchoFMError):
    """The installation is not sound: a missing tool, or another package provides our names."""

    exit_code = 30
