"""Private training is tested on the same site as plain training."""

from tests.training.conftest import clips, one_thread

__all__ = ["clips", "one_thread"]
