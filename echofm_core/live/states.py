"""Words for how a run and its sites fare."""

from enum import StrEnum


class RunState(StrEnum):
    """How a run fares; orphaned: it ended without a word, or shows no sign of life any more."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    ORPHANED = "orphaned"


class SiteState(StrEnum):
    """What a site does for a run; the last three cost it its part in a round."""

    READY = "ready"  # it has said who it is
    TRAINING = "training"
    VALIDATING = "validating"
    TESTING = "testing"
    ANSWERED = "answered"
    REFUSED = "refused"  # by the coordinator, or it refused itself
    ABSENT = "absent"  # it has not come yet
    GONE = "gone"  # it was asked, and did not answer in time


class Doing(StrEnum):
    """What a model of a run is at, beside its phases."""

    GATHER = "gather"  # who is there
    PRETRAIN = "pretrain"
    FINETUNE = "finetune"
    VALIDATE = "validate"
    TEST = "test"
    DONE = "done"
