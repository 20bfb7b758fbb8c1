"""A log that can only grow: one JSON object a line, each with the hash of the line before it.

Symptom: a line is changed, taken out or put elsewhere, and nobody sees it. Reason: a text file
holds no order but its own. Protocol: one writer at a time, under a lock; the line carries the
hash of the line before it and ends with its own, the SHA-256 of all that stands before that; it is
on the disk before :meth:`ChainedLog.append` returns; reading checks the whole chain, so that one
changed byte of any line is seen. A last line that a crash cut short never became part of it: nobody
saw that it was written. What can still go wrong: lines that are missing at the end, or a chain
that was written anew, which only somebody who kept a later :attr:`ChainedLog.head` can see.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echofm_core.runtime.file_lock import file_lock

#: Key of a line's hash of the one before; the first line's is empty.
BEFORE = "before"
#: Key of a line's own hash, its last one.
OWN = "hash"


class BrokenChainError(ValueError):
    """A line of a log was changed, or is none of it; the sentence says which."""


class ChainedLog:
    """The log at a path; it need not be there yet.

    Attributes:
        records: What was read, oldest first, without their hashes.
        hashes: Own hash of each.

    Raises:
        BrokenChainError: The chain does not hold.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self.hashes: list[str] = []
        self._whole = 0
        self.read()

    @property
    def head(self) -> str:
        """Hash of the last line; empty where there is none."""
        return self.hashes[-1] if self.hashes else ""

    def read(self) -> None:
        """Read it anew: another process may have written.

        Raises:
            BrokenChainError, OSError: As of the class.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            content = b""
        self._whole = content.rfind(b"\n") + 1
        self.records, self.hashes = [], []
        lines = content[: self._whole].split(b"\n")[:-1]
        for number, line in enumerate(lines, start=1):
            try:
                body, own = _parts(line)
                record = json.loads(body)
                before = record.pop(BEFORE)
            except (ValueError, TypeError, AttributeError, KeyError):
                raise BrokenChainError(f"line {number} is not one of its records") from None
            if own != _hash(body):
                after = f", and line {number + 1} does not follow from it"
                raise BrokenChainError(
                    f"line {number} was changed{after if number < len(lines) else ''}"
                )
            if before != self.head:
                raise BrokenChainError(
                    f"line {number} does not follow from the one before it: lines were taken out, "
                    "put in or moved"
                )
            self.records.append(record)
            self.hashes.append(own)
        if _is_whole(content[self._whole : -1]):  # a crash leaves less than a line
            raise BrokenChainError(f"line {len(lines) + 1} was changed at its end")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer for a block; what others have written meanwhile is read first.

        Raises:
            BrokenChainError, OSError: As of the class.
        """
        with file_lock(self.path.with_name(f".{self.path.name}.lock"), wait=True):
            self.read()
            yield

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record durably; only within :meth:`writing`.

        Raises:
            OSError: It cannot be written; then it is no part of the log.
        """
        body = json.dumps({**record, BEFORE: self.head}, sort_keys=True).encode()
        line = body[:-1] + _end(_hash(body))
        with self.path.open("r+b" if self.path.exists() else "xb") as file:
            file.truncate(self._whole)  # what a crash cut short
            file.seek(self._whole)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._whole += len(line) + 1
        self.records.append(json.loads(body))
        self.records[-1].pop(BEFORE)
        self.hashes.append(_hash(body))


def _end(own: str) -> bytes:
    """The end of a line, in place of its record's closing brace."""
    return f', "{OWN}": "{own}"}}'.encode()


def _parts(line: bytes) -> tuple[bytes, str]:
    """A line as its record, in JSON, and the hash that it says is its own.

    Raises:
        ValueError: It does not end with one.
    """
    cut = len(line) - len(_end("0" * 64))
    own = line[-66:-2].decode("ascii")
    if cut < 0 or line[cut:] != _end(own):
        raise ValueError("no hash at its end")
    return line[:cut] + b"}", own


def _is_whole(line: bytes) -> bool:
    try:
        body, own = _parts(line)
    except ValueError:
        return False
    return own == _hash(body)


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
