"""Building a clip store: decode in parallel into parts, then write it whole and switch over."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Hashable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.console import Meter
from echofm_core.data.clip_store import INDEX_COLUMNS, META, ClipStore, read_meta
from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.store_parts import PREPROCESSING, Job, Outcome, load, prepare
from echofm_core.errors import StoreError

#: Assumed where a manifest row does not say how many frames a clip has.
TYPICAL_FRAMES = 100

#: One manifest row as a dictionary.
Row = Mapping[Hashable, Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ready:
    """A clip that goes into the store; ``part`` None: copied from the store being replaced.

    Attributes:
        record: Its row of the index, ``offset`` excepted.
        sector: ``(S, S)`` bool.
    """

    clip_id: str
    part: Path | None
    record: Mapping[str, Any]
    sector: NDArray[np.bool_]


def build(
    manifest: pd.DataFrame, folder: Path, config: DataConfig, workers: int, meter: Meter | None
) -> Findings:
    """See :func:`echofm_core.data.clip_store.build_store`; returns its findings."""
    previous = _previous(folder, config)
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    _check_disk(manifest, folder, config, previous)
    rows = manifest.to_dict("records")
    jobs = [_job(row, config, parts, previous) for row in rows]
    findings = Findings()
    ready: list[Ready] = []
    for row, outcome in zip(rows, _outcomes(jobs, workers), strict=True):
        clip = _accept(row, outcome, previous, config, findings)
        if clip is not None:
            ready.append(clip)
        if meter is not None:
            meter.advance()
    _install(ready, folder, config, previous)
    shutil.rmtree(parts, ignore_errors=True)
    return findings


def _form(config: DataConfig) -> str:
    """What was done to the pixels; a store of another form is not reused."""
    return f"{PREPROCESSING}:{config.size}"


def _previous(folder: Path, config: DataConfig) -> ClipStore | None:
    """The store being replaced, if it is whole and of the same form."""
    try:
        return ClipStore.open(folder) if read_meta(folder)["form"] == _form(config) else None
    except StoreError:
        return None


def _check_disk(
    manifest: pd.DataFrame, folder: Path, config: DataConfig, previous: ClipStore | None
) -> None:
    """Refuse before decoding; parts and the store written from them are on disk together."""
    lengths = manifest["n_frames"].fillna(TYPICAL_FRAMES).to_numpy(dtype=np.int64)
    new = np.array([previous is None or clip not in previous for clip in manifest["clip_id"]])
    if not new.any():
        return
    needed = (int(lengths.sum()) + int(lengths[new].sum())) * config.size**2
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(
            f"the clip store {folder} needs about {needed / 1e9:.1f} GB while it is built, and "
            f"{free / 1e9:.1f} GB are free; choose another folder, a smaller data.size or fewer "
            "clips."
        )


def _job(row: Row, config: DataConfig, parts: Path, previous: ClipStore | None) -> Job:
    known = previous is not None and row["clip_id"] in previous
    record: Any = previous.index.loc[row["clip_id"]] if previous is not None and known else None
    return Job(
        path=str(row["path"]),
        dataset=str(row["dataset"]),
        size=config.size,
        parts=parts,
        known_stamp="" if record is None else str(record["stamp"]),
        known_hash="" if record is None else str(record["source_hash"]),
    )


def _outcomes(jobs: list[Job], workers: int) -> Iterator[Outcome]:
    """Outcomes in the order of the jobs."""
    if workers <= 1:
        yield from map(prepare, jobs)
        return
    # Spawned, not forked: decoders keep threads, which a fork would not carry over.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            yield from pool.map(prepare, jobs, chunksize=max(1, min(16, len(jobs) // workers)))
    except BrokenProcessPool:
        raise StoreError(
            "a decoding process died, most likely for want of memory; run the same command again "
            "with fewer workers: what is decoded so far is kept."
        ) from None


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _accept(
    row: Row,
    outcome: Outcome,
    previous: ClipStore | None,
    config: DataConfig,
    findings: Findings,
) -> Ready | None:
    """Check what came of a clip; None where it does not go into the store."""
    dataset, clip_id = str(row["dataset"]), str(row["clip_id"])
    if outcome.kind:
        findings.add(dataset, outcome.kind, clip_id, outcome.reason)
        return None
    if outcome.part is not None:
        part = load(outcome.part)
        length, container_fps = len(part.frames), part.fps
        content_hash, sector = part.content_hash, part.sector
    else:
        assert previous is not None  # only a known clip comes back without a part
        known: Any = previous.index.loc[clip_id]
        length, content_hash = int(known["length"]), str(known["content_hash"])
        container_fps, sector = known["container_fps"], previous.sector(clip_id)
    if length < config.min_clip_frames and not str(row["path"]).lower().endswith(".png"):
        reason = f"The clip has {length} frames, {config.min_clip_frames} are needed."
        findings.add(dataset, "too_few_frames", clip_id, reason)
        return None
    if _known(row["n_frames"]) and length < int(row["n_frames"]):
        reason = f"The file holds {length} frames, its source says {row['n_frames']}."
        findings.add(dataset, "truncated_clip", clip_id, reason, Severity.REPAIRED)
    record = {
        "length": length,
        "fps": row["fps"] if _known(row["fps"]) else container_fps,
        "container_fps": container_fps,
        "source_hash": outcome.source_hash,
        "content_hash": content_hash,
        "stamp": outcome.stamp,
    }
    return Ready(clip_id=clip_id, part=outcome.part, record=record, sector=sector)


def _known(value: Any) -> bool:
    return not pd.isna(value)


def _install(
    ready: list[Ready], folder: Path, config: DataConfig, previous: ClipStore | None
) -> None:
    """Write the new version beside the old one and switch over; nothing where they agree."""
    table = pd.DataFrame([clip.record for clip in ready], columns=list(INDEX_COLUMNS))
    table["length"] = table["length"].astype("int64")
    table["offset"] = table["length"].cumsum() - table["length"]
    table = table.astype(INDEX_COLUMNS)
    table.insert(0, "clip_id", pd.Series([clip.clip_id for clip in ready], dtype="string"))
    name = f"data-{hashlib.sha256(table.to_csv().encode()).hexdigest()[:16]}"
    if previous is not None and read_meta(folder)["data"] == name:
        return
    partial = folder / f".{name}.{os.getpid()}"
    partial.mkdir()
    _write_frames(ready, int(table["length"].sum()), config.size, partial, previous)
    table.to_parquet(partial / "index.parquet", index=False)
    if (folder / name).exists():  # a damaged one, or one that a killed build did not switch to
        shutil.rmtree(folder / name)
    partial.rename(folder / name)
    meta = folder / f".{META}.{os.getpid()}"
    meta.write_text(json.dumps({"size": config.size, "data": name, "form": _form(config)}))
    meta.replace(folder / META)
    for old in [*folder.glob("data-*"), *folder.glob(".data-*")]:
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def _write_frames(
    ready: list[Ready], frames: int, size: int, target: Path, previous: ClipStore | None
) -> None:
    pixels = np.lib.format.open_memmap(
        target / "frames.npy", mode="w+", dtype=np.uint8, shape=(frames, size, size)
    )
    offset = 0
    for clip in ready:
        if clip.part is not None:
            source = load(clip.part).frames
        else:
            assert previous is not None
            source = previous.frames(clip.clip_id)
        pixels[offset : offset + len(source)] = source
        offset += len(source)
    pixels.flush()
    sectors = [clip.sector for clip in ready]
    np.save(target / "sectors.npy", np.array(sectors, dtype=bool).reshape(-1, size, size))
