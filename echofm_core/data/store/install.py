"""The folder of a clip store: one builder at a time, written whole, switched over, tidied."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from echofm_core.data.config import Square
from echofm_core.data.store.clip_store import INDEX_COLUMNS, META, ClipStore, read_meta
from echofm_core.data.store.parts import PARTS, part_file, read_head
from echofm_core.runtime.errors import StoreError
from echofm_core.runtime.file_lock import folder_lock
from echofm_core.runtime.files import remove, whole_folder, write_whole

#: Bytes copied at a time.
BLOCK = 2**20


class Ready(NamedTuple):
    """A clip that goes into the store: its row of the index, ``offset`` excepted.

    Attributes:
        kept: Its pixels are in the store being replaced; otherwise in the part of its source.
    """

    clip_id: str
    length: int
    fps: float | None
    container_fps: float | None
    source_hash: str
    content_hash: str
    stamp: str
    notes: str
    kept: bool
    times: str | None = None


def install(
    ready: Sequence[Ready], folder: Path, square: Square, form: str, previous: ClipStore | None
) -> None:
    """Write the new version beside the old one and switch over; nothing where they agree.

    Killed at any instant, the folder holds the old store or the new one; the next build finds the
    parts as they were, and removes the rest.
    """
    table = _table(ready)
    name = f"data-{_digest(table)[:16]}"
    if previous is None or read_meta(folder)["data"] != name:
        with whole_folder(folder / name) as partial:
            _write_pixels(ready, partial, folder / PARTS, square.size, previous)
            table.to_parquet(partial / "index.parquet", index=False)
            if (folder / name).exists():  # it is damaged, else it would be the previous one
                shutil.rmtree(folder / name)
        facts = {**square._asdict(), "data": name, "form": form}
        write_whole(folder / META, json.dumps(facts).encode())
    tidy(folder, parts=True)


def _table(ready: Sequence[Ready]) -> pd.DataFrame:
    """The index as it is stored."""
    types = {"clip_id": "string", **INDEX_COLUMNS}
    table = pd.DataFrame(ready, columns=Ready._fields)
    table["offset"] = table["length"].cumsum() - table["length"]
    return table[list(types)].astype(types)


def _digest(table: pd.DataFrame) -> str:
    """SHA-256 of all that the index says."""
    state = hashlib.sha256()
    for name, values in table.items():
        state.update(f"{name}|{'|'.join(map(str, values))}\n".encode())
    return state.hexdigest()


def _write_pixels(
    ready: Sequence[Ready], target: Path, parts: Path, size: int, previous: ClipStore | None
) -> None:
    """Frames and sectors one clip after the other, so that memory holds none of them."""
    frames = sum(clip.length for clip in ready)
    with (
        _array(target / "frames.npy", (frames, size, size), np.uint8) as pixels,
        _array(target / "sectors.npy", (len(ready), size, size), np.bool_) as sectors,
    ):
        for clip in ready:
            if clip.kept:
                assert previous is not None
                pixels.write(previous.frames(clip.clip_id).data)
                sectors.write(previous.sector(clip.clip_id).data)
            else:
                with part_file(parts, clip.source_hash).open("rb") as part:
                    sector, _ = read_head(part)
                    sectors.write(sector.data)
                    shutil.copyfileobj(part, pixels, BLOCK)


@contextmanager
def _array(file: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> Iterator[BinaryIO]:
    """A ``.npy`` file whose values are written one after the other."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        yield stream


@contextmanager
def sole_builder(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it against other builds; a killed process lets go of it.

    Raises:
        StoreError: Another process builds there.
    """
    refusal = StoreError(
        f"another process is building the clip store {folder}; wait until it has ended."
    )
    with folder_lock(folder, refusal):
        yield


def make_room(folder: Path) -> None:
    """Remove what killed builds left, but for what they decoded.

    Raises:
        StoreError: Another process builds there.
    """
    with sole_builder(folder):
        tidy(folder, parts=False)


def tidy(folder: Path, *, parts: bool) -> None:
    """Remove what builds that were killed left, and stores that were replaced.

    Args:
        folder: Of one store, held by :func:`sole_builder`.
        parts: The decoded clips too: the store that needed them is there.
    """
    try:
        current = str(read_meta(folder)["data"])
    except StoreError:
        current = ""
    for item in folder.iterdir():
        ours = item.name.startswith(("data-", ".data-", f".{META}."))
        if item.name != current and (ours or (parts and item.name == PARTS)):
            remove(item)
