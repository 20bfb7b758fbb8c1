"""Arrays of a rule on disk, a chunk at a time in memory.

At most three models are in the server's memory in a round: what the sites start from, the running
sum, and the reply that is being added. What a rule keeps beside them (moments, control variates,
every reply of a round) lies here.
"""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.contract import Update, Weights
from server.aggregation._api import CHUNK, changes, chunks, sum_of_squares


class DiskArrays:
    """Named float32 arrays in a file that has no name and goes with its process.

    Args:
        folder: Where the file lies; None: in the system's folder for such files.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        self._places: dict[str, dict[str, tuple[int, tuple[int, ...]]]] = {}
        self._end = 0

    def reserve(self, part: str, name: str, shape: tuple[int, ...]) -> None:
        """Make room for an array, if there is none yet; it holds zeros."""
        places = self._places.setdefault(part, {})
        if name not in places:
            places[name] = (self._end, shape)
            self._end += 4 * math.prod(shape)
            os.ftruncate(self._file.fileno(), self._end)

    def put(self, part: str, arrays: Weights) -> None:
        """Write arrays, in place of those of that name and shape."""
        for name, array in arrays.items():
            self.reserve(part, name, array.shape)
            flat = array.reshape(-1)
            for piece in chunks(flat.size):
                self.write(part, name, piece, flat[piece].astype(np.float32, copy=False))

    def has(self, part: str, name: str) -> bool:
        """Is there such an array?"""
        return name in self._places.get(part, {})

    def read(self, part: str, name: str, piece: slice) -> NDArray[np.float32]:
        """Elements of a flat array, at most some hundred MB."""
        values = np.empty(piece.stop - piece.start, np.float32)
        place = self._places[part][name][0] + 4 * piece.start
        os.preadv(self._file.fileno(), [values.data], place)
        return values

    def write(self, part: str, name: str, piece: slice, values: NDArray[np.float32]) -> None:
        """Replace elements of a flat array."""
        place = self._places[part][name][0] + 4 * piece.start
        view = np.ascontiguousarray(values).view(np.uint8).data
        while view:
            written = os.pwrite(self._file.fileno(), view, place)
            view, place = view[written:], place + written

    def load(self, part: str) -> dict[str, NDArray[np.float32]]:
        """All arrays of a part, in memory; empty where there is none."""
        return {
            name: self.read(part, name, slice(0, math.prod(shape))).reshape(shape)
            for name, (_, shape) in self._places.get(part, {}).items()
        }


class EveryReply:
    """A fold for rules that need all replies of a round at once, such as robust ones.

    Changes wait on disk; at the end a chunk of parameters of all of them is in memory.

    Args:
        sent, current: As of :meth:`Algorithm.start`.
        combine: Changes of all sites that trained a parameter, (sites, chunk) float32 in site
            order, to what is added to the model, (chunk,).
        folder: Where changes wait.
    """

    def __init__(
        self,
        sent: Weights,
        current: Weights,
        combine: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        folder: Path | None,
    ) -> None:
        self._sent, self._current, self._combine = sent, current, combine
        self._disk = DiskArrays(folder)
        self._replies = 0

    def add(
        self,
        weights: Weights,
        counts: Mapping[str, int],
        update: Update | None = None,
        norm: float | None = None,
    ) -> float:
        """Put one admitted update on disk; returns the L2 norm of its change."""
        squares = 0.0
        for name, array in weights.items():
            self._disk.reserve(str(self._replies), name, array.shape)
            for piece, change in changes(array, self._sent[name]):
                squares += sum_of_squares(change) if norm is None else 0.0
                self._disk.write(str(self._replies), name, piece, change)
        self._replies += 1
        return math.sqrt(squares) if norm is None else norm

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """The next global model; groups that nobody trained are passed on as they are."""
        model: dict[str, NDArray[np.float32]] = {}
        for name, array in self._current.items():
            model[name] = np.array(array, np.float32)
            flat = model[name].reshape(-1)
            for piece, stack in self.stacks(name):
                flat[piece] += self.combine(name, stack)
        return model

    def combine(self, name: str, changes: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is added to a part of an array, (chunk,); ``changes`` may be written to."""
        return self._combine(changes)

    def names(self) -> Iterator[str]:
        """Arrays of the model, in its order."""
        return iter(self._current)

    def stacks(self, name: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Parts of an array with the changes of all sites that trained it, (sites, chunk).

        In site order; nothing where nobody trained it.
        """
        those = [str(n) for n in range(self._replies) if self._disk.has(str(n), name)]
        size = self._current[name].size if those else 0
        for piece in chunks(size, max(1, CHUNK // max(1, len(those)))):
            yield piece, np.stack([self._disk.read(reply, name, piece) for reply in those])
