"""Which trackers there are."""

from enum import StrEnum


class TrackerName(StrEnum):
    """A program that draws curves; the extra of the same name installs it."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
