"""What a command writes, and the one sentence when that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echofm_core.runtime.errors import OutputError


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Wrap the writing of a file or folder.

    Raises:
        OutputError: The system refuses, for want of room or of permission as a rule.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{place} cannot be written ({reason}); make room there or choose another place, and "
            "run the same command again."
        ) from error
