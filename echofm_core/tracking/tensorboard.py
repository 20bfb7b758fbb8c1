"""TensorBoard: event files in the run folder.

Each process that adds something writes a file of its own, since what a killed one left may end in
half a record: TensorBoard reads all files of a folder as one series, each up to where it is whole.
The files are written here, in one piece a round, since TensorBoard's own writer does so in a thread
that prints a traceback where the disk is full.
"""

import io
import os
import time
from pathlib import Path
from typing import Any

from echofm_core.tracking._api import TrackedRound

FOLDER = "tensorboard"
#: Says to readers that steps may go back, as they do from one phase to the next.
VERSION = "brain.Event:2"


class TensorBoard:
    """Curves in ``FOLDER/tensorboard``, one a metric, a step a round. See :class:`Tracker`.

    Args:
        folder: Run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._known = steps_in(self._folder)
        self._file: io.FileIO | None = None

    def add(self, round_: TrackedRound) -> None:
        """Write a point of each curve that has none at this round."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in round_.series().items()
            if (tag, round_.round) not in self._known
        ]
        if not points:
            return
        self._write(step=round_.round, summary=Summary(value=points))
        self._known |= {(point.tag, round_.round) for point in points}

    def close(self, *, finished: bool) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        records = io.BytesIO()
        writer = RecordWriter(records)
        if self._file is None:
            self._file = self._open()
            version = Event(wall_time=time.time(), file_version=VERSION)
            writer.write(version.SerializeToString())
        writer.write(Event(wall_time=time.time(), **content).SerializeToString())
        whole = records.getvalue()
        if (written := self._file.write(whole)) != len(whole):
            raise OSError(f"{written} of {len(whole)} bytes could be written")
        os.fsync(self._file.fileno())

    def _open(self) -> io.FileIO:
        """A new file that sorts behind those of earlier processes."""
        self._folder.mkdir(parents=True, exist_ok=True)
        seconds, rest = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010d}.{rest:09d}.{os.getpid()}"
        return io.FileIO(self._folder / name, "x")


def steps_in(folder: Path) -> set[tuple[str, int]]:
    """(tag, step) of all scalars in a folder's event files; empty without any."""
    if not any(folder.glob("*tfevents*")):
        return set()
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(folder), {SCALARS: 0}, purge_orphaned_data=False).Reload()
    return {(tag, event.step) for tag in events.Tags()[SCALARS] for event in events.Scalars(tag)}
