"""What a site keeps of each run, and its removal when the run is over."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.audit import write_act
from client.state import EVALUATIONS, IN_USE
from echofm_core.data.training_record import KEY, RECORD
from echofm_core.runtime.errors import DataRootError, PolicyError
from echofm_core.runtime.file_lock import file_lock, is_locked
from echofm_core.runtime.files import remove
from echofm_core.runtime.names import name_fault
from echofm_core.runtime.text import many


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRun:
    """The folder of one run.

    Attributes:
        size: Bytes of its files.
        days: Since one of them was written last.
        busy: A message of it is being answered.
    """

    name: str
    size: int
    days: float
    busy: bool

    def line(self) -> str:
        """In words."""
        busy = ", a round is in progress" if self.busy else ""
        age = many(round(self.days), "day")
        return f"{self.name}: {megabytes(self.size)}, last written {age} ago{busy}"


def kept_runs(state: Path) -> Iterator[KeptRun]:
    """Every run that a site's state folder has files of, by name."""
    for folder in sorted(state.glob("*/")):
        if not _is_run(folder):
            continue
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
        yield KeptRun(
            name=folder.name,
            size=sum(file.st_size for file in files),
            days=(time.time() - max(file.st_mtime for file in files)) / 86400,
            busy=is_locked(folder / IN_USE),
        )


def purge_run(state: Path, run: str, *, record: bool = False) -> int:
    """Delete what a site keeps of a run, and write that into the audit.

    The count of its tests stays, since the policy's bound is on it, and so does the record of whom
    it trained on, unless that is asked for; privacy ledger and audit are of all runs and stay.

    Args:
        state: Folder of the site.
        run: Name of the run.
        record: The record too: then nobody can tell any more whether a patient was in the run.

    Returns:
        Bytes that became free.

    Raises:
        DataRootError: There is no such run.
        PolicyError: A message of it is being answered.
        AuditError: It could not be written down; nothing is deleted.
    """
    folder = state / run
    if name_fault(run, longest=128) or not _is_run(folder):
        raise DataRootError(
            f"{state} holds nothing of a run {run[:128]!r}; `echofm client purge FOLDER --list` "
            "shows what it holds."
        )
    with file_lock(folder / IN_USE) as ours:
        if not ours:
            raise PolicyError(
                f"a round of {run} is in progress here, so nothing of it is deleted; wait for its "
                "end, or stop the node."
            )
        gone = [path for path in folder.iterdir() if not _stays(path.name, record=record)]
        size = sum(map(_size, gone))
        what = "what was kept" if record else "what was kept but the training record"
        write_act(state, "purge", f"{what} deleted, {size} bytes", run)
        for path in gone:
            remove(path)
    return size


def megabytes(size: int) -> str:
    """Bytes in words."""
    return f"{size / 1e6:,.1f} MB"


def _is_run(folder: Path) -> bool:
    return (folder / IN_USE).is_file() or (folder / RECORD).is_file()


def _stays(name: str, *, record: bool) -> bool:
    # The lock is held, and whoever waits for it has the file open.
    return name in (IN_USE, EVALUATIONS) or (not record and (name == RECORD or name.endswith(KEY)))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.lstat().st_size
    return sum(
        (Path(place) / name).lstat().st_size for place, _, names in os.walk(path) for name in names
    )
