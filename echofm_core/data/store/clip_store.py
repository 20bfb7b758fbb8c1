"""The clip store: each clip decoded once, uint8 grey at one size, memory-mapped.

Symptom: training waits for video decoders, and a reader meets a store that is half replaced.
Reason: decoding a clip takes a hundred times as long as reading it, and a store is three files.
Protocol: ``meta.json`` names the current ``data-*`` folder, which holds ``frames.npy``
``(N, S, S)`` uint8, ``sectors.npy`` ``(clips, S, S)`` bool and ``index.parquet``; replacing
``meta.json`` installs a new version, so that a reader sees the old store or the new one, never a
mixture. What can still go wrong: a reader that keeps an old version open holds its disk space; bits
that rot on the disk are seen by no checksum while reading.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.data.cine import times_of
from echofm_core.data.config import Square
from echofm_core.runtime.errors import StoreError, refusing
from echofm_core.runtime.text import many

META = "meta.json"

#: Index column -> dtype; the row's label is the clip id.
INDEX_COLUMNS: dict[str, str] = {
    "offset": "int64",  # first frame in frames.npy
    "length": "int64",  # frames
    "fps": "Float32",  # Hz, null where unknown: the manifest's, else the container's
    "container_fps": "Float32",
    "times": "string",  # of the frames, in ms, where they are uneven
    "source_hash": "string",  # SHA-256 of the source files
    "content_hash": "string",  # SHA-256 of the stored frames and sector
    "stamp": "string",  # sizes and times of the source files: unchanged means not read again
    "notes": "string",  # what decoding found out, as JSON; "" for nothing
}
#: Columns that a store of an earlier version lacks.
LATER = frozenset({"times", "notes"})


class ClipStore:
    """Random access to decoded clips, of one store or of several side by side.

    Args:
        folders: Store folders, each written by :func:`build_store`, all of one frame size.

    Attributes:
        folder: The one that messages name.
        size: Side S of a frame, in pixels.
        index: One row a clip, by clip id: ``INDEX_COLUMNS`` and the store's number.

    Raises:
        StoreError: A store is missing or damaged, sizes differ, or a clip is in two of them.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        if not folders:
            raise StoreError("no clip store was given; build one with `echofm data store`.")
        parts = [_open_one(folder) for folder in folders]
        squares = sorted({square for square, *_ in parts})
        if len(squares) > 1:
            raise StoreError(
                f"the clip stores beside {folders[0]} hold frames of different sizes "
                f"({'; '.join(map(str, squares))}); build them again by one plan."
            )
        self.folder = folders[0] if len(folders) == 1 else folders[0].parent
        self.square = squares[0]
        self.size = self.square.size
        self.folders = tuple(folders)
        self._frames = [frames for _, _, frames, _ in parts]
        self._sectors = [sectors for *_, sectors in parts]
        self.index = pd.concat(
            index.assign(store=number, row=range(len(index)))
            for number, (_, index, _, _) in enumerate(parts)
        )
        if count := int(self.index.index.duplicated().sum()):
            raise StoreError(
                f"{many(count, 'clip is', 'clips are')} in more than one store beside {folders[0]}."
            )
        # Plain arrays beside one dictionary: half a million clips are looked up by name.
        clips = self.index.index.tolist()
        self._rows: dict[str, int] = dict(zip(clips, range(len(clips)), strict=True))
        self._store, self._row, self._offset, self._length = (
            self.index[name].to_numpy(dtype=np.int64)
            for name in ("store", "row", "offset", "length")
        )
        uneven = self.index["times"].dropna()
        self._times = dict(zip(map(str, uneven.index), map(str, uneven), strict=True))
        self._fps = self.index["fps"].to_numpy(dtype=np.float64, na_value=np.nan)

    def __contains__(self, clip_id: object) -> bool:
        return clip_id in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> tuple[type[ClipStore], tuple[tuple[Path, ...]]]:
        return type(self), (self.folders,)  # another process maps the same files

    def length(self, clip_id: str) -> int:
        """Frames of a clip."""
        return int(self._length[self._find(clip_id)])

    def fps(self, clip_id: str) -> float | None:
        """Frames a second of a clip, None where unknown."""
        fps = float(self._fps[self._find(clip_id)])
        return None if math.isnan(fps) else fps

    def times(self, clip_id: str) -> NDArray[np.float64] | None:
        """Seconds of a clip's frames from the first, at its mean rate; None where even."""
        text, fps = self._times.get(clip_id), self.fps(clip_id)
        if text is None or fps is None:
            return None
        times: NDArray[np.float64] = times_of(text)
        # A manifest may know the rate of the recording where a container has that of a playback.
        return times * ((len(times) - 1) / fps / float(times[-1]))

    def frames(self, clip_id: str, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Frames ``start`` to ``stop`` as a read-only view ``(n, S, S)`` uint8: nothing is copied.

        Raises:
            StoreError: The clip is not here, or the range passes its end.
        """
        clip = self._find(clip_id)
        offset, length = int(self._offset[clip]), int(self._length[clip])
        stop = length if stop is None else stop
        if not 0 <= start <= stop <= length:
            raise StoreError(
                f"frames {start} to {stop} were asked of a clip that has {length} in {self.folder}."
            )
        frames: NDArray[np.uint8] = self._frames[int(self._store[clip])]
        return frames[offset + start : offset + stop]

    def sector(self, clip_id: str) -> NDArray[np.bool_]:
        """Ultrasound sector ``(S, S)`` of a clip."""
        clip = self._find(clip_id)
        sector: NDArray[np.bool_] = self._sectors[int(self._store[clip])][int(self._row[clip])]
        return sector

    def digest(self) -> str:
        """SHA-256 over every clip's id, frames, sector and frame rate; of any build the same."""
        rates = (None if math.isnan(fps) else fps for fps in self._fps.tolist())
        rows = sorted(zip(self._rows, self.index["content_hash"], rates, strict=True))
        state = hashlib.sha256(f"{self.size}\n".encode())
        for clip, content_hash, fps in rows:
            times = self._times.get(clip, "")
            state.update(f"{clip}|{content_hash}|{fps}{times and '|' + times}\n".encode())
        return state.hexdigest()

    def _find(self, clip_id: str) -> int:
        """Row of the index."""
        try:
            return self._rows[clip_id]
        except KeyError:
            raise StoreError(
                f"a clip of the manifest is not in the store {self.folder}; "
                "build it again with `echofm data store`."
            ) from None


def open_stores(folder: Path) -> ClipStore:
    """Open every store in a folder, one a data set, as one.

    Raises:
        StoreError: There is none, or one is damaged.
    """
    return ClipStore(sorted(meta.parent for meta in folder.glob(f"*/{META}")))


def read_meta(folder: Path) -> dict[str, Any]:
    """The store's ``meta.json``.

    Raises:
        StoreError: Missing or damaged.
    """
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        return {
            "square": Square(int(meta["size"]), float(meta.get("field_cm", 0))),
            "data": str(meta["data"]),
            "form": str(meta["form"]),
        }
    except FileNotFoundError:
        raise StoreError(
            f"there is no clip store at {folder}; build one with `echofm data store`."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the clip store {folder} is damaged ({type(error).__name__} in {META}); remove it and "
            "run `echofm data store`."
        ) from None


def _open_one(folder: Path) -> tuple[Square, pd.DataFrame, NDArray[np.uint8], NDArray[np.bool_]]:
    """Square, index, frames and sectors of one store folder."""
    meta = read_meta(folder)
    data = folder / Path(meta["data"]).name
    advice = "; remove it and run `echofm data store`"
    with refusing(f"the clip store {folder} is damaged", StoreError, advice):
        index = pd.read_parquet(data / "index.parquet").set_index("clip_id")
        for later in LATER.difference(index):  # a store that was built before there were such
            index[later] = None
        index = index.astype(INDEX_COLUMNS)
        frames: NDArray[np.uint8] = np.load(data / "frames.npy", mmap_mode="r")
        sectors: NDArray[np.bool_] = np.load(data / "sectors.npy", mmap_mode="r")
    if int(index["length"].sum()) != len(frames) or len(index) != len(sectors):
        raise StoreError(
            f"the clip store {folder} holds {many(len(frames), 'frame')}, its index says "
            f"{int(index['length'].sum())}{advice}."
        )
    return meta["square"], index, frames, sectors
