"""A log that can only grow: one JSON object a line, each with the hash of the line before it.

Symptom: a line is changed, taken out or put elsewhere, and nobody sees it. Reason: a text file
holds no order but its own. Protocol: one writer at a time, under a lock; the line carries the
SHA-256 of the line before it and is on the disk before :meth:`ChainedLog.append` returns; reading
checks the whole chain. A last line that a crash cut short never became part of it: nobody was told
that it was written. What can still go wrong: lines that are missing at the end leave a whole chain,
which only somebody who kept a later :attr:`ChainedLog.head` can see.
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


class BrokenChainError(ValueError):
    """A line of a log was changed, or is none of it; the sentence says which."""


class ChainedLog:
    """The log at a path; it need not be there yet.

    Attributes:
        records: What was read, oldest first, without their hashes.
        head: Hash of the last line; empty where there is none.

    Raises:
        BrokenChainError: The chain does not hold.
        OSError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        self.head = ""
        self._whole = 0
        self.read()

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
        self.records, self.head = [], ""
        for number, line in enumerate(content[: self._whole].splitlines(), start=1):
            try:
                record = json.loads(line)
                before = record.pop(BEFORE)
            except (ValueError, TypeError, AttributeError, KeyError):
                raise BrokenChainError(f"line {number} is not one of its records") from None
            if before != self.head:
                raise BrokenChainError(f"line {number} does not follow from the one before it")
            self.records.append(record)
            self.head = _hash(line)

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
        line = json.dumps({**record, BEFORE: self.head}, sort_keys=True).encode()
        with self.path.open("r+b" if self.path.exists() else "xb") as file:
            file.truncate(self._whole)  # what a crash cut short
            file.seek(self._whole)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._whole += len(line) + 1
        self.records.append(json.loads(line))
        self.records[-1].pop(BEFORE)
        self.head = _hash(line)


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
