"""The folder of a clip store under construction: one builder at a time, nothing left over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echofm_core.data.store.clip_store import META, read_meta
from echofm_core.data.store.parts import PARTS
from echofm_core.runtime.errors import StoreError
from echofm_core.runtime.file_lock import folder_lock
from echofm_core.runtime.files import remove


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
