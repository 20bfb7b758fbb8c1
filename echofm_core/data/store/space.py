"""How much disk a clip store takes while it is built, and whether that is there."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.store.clip_store import ClipStore, read_meta
from echofm_core.data.store.parts import PARTS, PREPROCESSING
from echofm_core.runtime.errors import StoreError

#: Assumed where a manifest row does not say how many frames a clip has.
TYPICAL_FRAMES = 100


def form_of(config: DataConfig) -> str:
    """What was done to the pixels; a store of another form is not reused."""
    return f"{PREPROCESSING}:{config.square}"


def previous_store(folder: Path, config: DataConfig) -> ClipStore | None:
    """The store being replaced, if it is whole and of the same form."""
    try:
        return ClipStore([folder]) if read_meta(folder)["form"] == form_of(config) else None
    except StoreError:
        return None


def check_disk(folder: Path, builds: Mapping[Path, pd.DataFrame], config: DataConfig) -> None:
    """Refuse before anything is decoded where the stores will not fit.

    Stores are built one after the other. While one is written, its clips' parts are on the disk
    too, and the store that it replaces; so all stores and the parts of the largest must fit.

    Args:
        folder: On the disk in question; made where it is missing.
        builds: Store folder -> manifest of the store.
        config: Uses ``size``.

    Raises:
        StoreError: The disk is too small.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spaces = [_space(rows, place, config) for place, rows in builds.items()]
    needed = sum(store for store, _ in spaces) + max((parts for _, parts in spaces), default=0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(
            f"the clip store {folder} needs about {_amount(needed)} while it is built, and "
            f"{_amount(free)} are free; choose another folder, a smaller data.size or fewer clips."
        )


def _amount(size: int) -> str:
    """Bytes in the unit that shows their size.

    >>> _amount(22_400_000_000), _amount(981_000), _amount(981)
    ('22.4 GB', '1.0 MB', '0.0 MB')
    """
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def _space(manifest: pd.DataFrame, folder: Path, config: DataConfig) -> tuple[int, int]:
    """Bytes that a build will write: store, parts. Nothing where no clip is new.

    A clip takes its frames and its sector, a byte a pixel, in its part and in the store.
    """
    lengths = manifest["n_frames"].fillna(TYPICAL_FRAMES).to_numpy(dtype=np.int64) + 1
    previous = previous_store(folder, config)
    known = np.zeros(len(manifest), dtype=bool)
    if previous is not None:
        known = manifest["clip_id"].isin(previous.index.index).to_numpy(dtype=bool)
    if known.all():
        return 0, 0
    area = config.size**2
    there = sum(file.stat().st_size for file in (folder / PARTS).glob("*"))  # of a killed build
    return int(lengths.sum()) * area, max(0, int(lengths[~known].sum()) * area - there)
