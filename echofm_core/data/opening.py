"""Files that may be packed or damaged: opened whole, or refused with one sentence."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from echofm_core.runtime.errors import UnreadableFileError


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Make one error of all that a decoder raises; its own text may quote the file.

    Args:
        what: Which file, and what cannot be done; the start of the message.

    Raises:
        UnreadableFileError: As it was raised within, or made of any other error.
    """
    try:
        yield
    except UnreadableFileError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UnreadableFileError(f"{what} ({reason}).") from None


def unpacked(raw: BinaryIO) -> BinaryIO | gzip.GzipFile:
    """An open file, unpacked where it is gzip, whatever its name says."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.GzipFile(fileobj=raw) if packed else raw
