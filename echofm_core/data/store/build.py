"""Building a clip store: decode in parallel into parts, then write it whole and switch over."""

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from echofm_core.data.cine import TRUNCATED
from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings, Note, Severity
from echofm_core.data.parallel import parallel_map
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.data.store.install import Ready, install, sole_builder, tidy
from echofm_core.data.store.parts import PARTS, Job, Outcome, Part, prepare, read_notes
from echofm_core.data.store.space import check_disk, form_of, previous_store
from echofm_core.runtime.console import Meter, progress
from echofm_core.runtime.errors import StoreError
from echofm_core.runtime.text import many

#: Rows of the manifest that are Python objects at a time.
SLICE = 4096
#: What came of a clip whose decoding took its process down, twice.
DIED = Outcome(
    kind="decoder_died",
    reason="A process died while it decoded the clip, and again with nothing else running; most "
    "likely the clip needs more memory than there is.",
)


class Row(NamedTuple):
    """A clip as the manifest has it, then as the store being replaced does; None: it does not."""

    dataset: str
    clip_id: str
    path: str
    n_frames: int | None
    fps: float | None
    stamp: str | None
    source_hash: str | None
    content_hash: str | None
    length: int | None
    container_fps: float | None
    times: str | None
    notes: str | None


def build_store(
    manifest: pd.DataFrame,
    folder: Path,
    config: DataConfig,
    *,
    workers: int = 0,
    meter: Meter | None = None,
) -> tuple[ClipStore, Findings]:
    """Decode a manifest's clips into a store; safe to kill and to run again.

    Only clips whose source or preprocessing changed are decoded; what a killed build had decoded
    is kept. The result is the same for any number of workers.

    Args:
        manifest: Clips, of one data set or several.
        folder: Of the store; made where it is missing.
        config: Uses ``size`` and ``min_clip_frames``.
        workers: Processes that decode; 0: this one does, and a clip that takes too much memory
            ends it. Otherwise it ends a decoder, and is quarantined.
        meter: Advanced by one a clip.

    Returns:
        The store, and findings on clips that are not in it (undecodable, too short, fatal to two
        decoders) or shorter than their source says.

    Raises:
        StoreError: The disk is too small or cannot be written, or no decoder can be started.
    """
    try:
        with sole_builder(folder):
            tidy(folder, parts=False)
            check_disk(folder, {folder: manifest}, config)
            findings = _build(manifest, folder, config, workers, meter)
    except OSError as error:
        raise StoreError(
            f"the clip store {folder} cannot be written ({error.strerror}); make room or mend the "
            "disk and run the same command again: what is decoded is kept."
        ) from error
    return ClipStore([folder]), findings


def build_stores(
    manifest: pd.DataFrame, folder: Path, config: DataConfig, workers: int
) -> Iterator[tuple[pd.DataFrame, ClipStore, Findings]]:
    """Decode a manifest into one store a data set below ``folder``, and show the progress.

    Yields:
        Rows of a data set, and what :func:`build_store`, which raises, made of them.
    """
    for dataset, rows in manifest.groupby("dataset", observed=True):
        rows, place = rows.reset_index(drop=True), folder / str(dataset)
        with progress(f"decoding {dataset}", len(rows)) as meter:
            built = build_store(rows, place, config, workers=workers, meter=meter)
        yield rows, *built


def _build(
    manifest: pd.DataFrame, folder: Path, config: DataConfig, workers: int, meter: Meter | None
) -> Findings:
    previous = previous_store(folder, config)
    parts = folder / PARTS
    parts.mkdir(exist_ok=True)
    jobs = (
        Job(row.path, row.dataset, config.square, parts, row.stamp or "", row.source_hash or "")
        for row in _rows(manifest, previous)
    )
    findings = Findings()
    ready: list[Ready] = []
    decoded: Generator[Outcome | None] = (
        parallel_map(prepare, jobs, workers) if workers else (prepare(job) for job in jobs)
    )
    with closing(decoded) as outcomes:
        for row, outcome in zip(_rows(manifest, previous), outcomes, strict=True):
            clip = _accept(row, outcome or DIED, config, findings)
            if clip is not None:
                ready.append(clip)
            if meter is not None:
                meter.advance()
    install(ready, folder, config.square, form_of(config), previous)
    return findings


def _rows(manifest: pd.DataFrame, previous: ClipStore | None) -> Iterator[Row]:
    """The manifest's clips in its order, a slice in memory at a time."""
    asked, known = list(Row._fields[:5]), list(Row._fields[5:])
    index = pd.DataFrame(columns=known) if previous is None else previous.index[known]
    for start in range(0, len(manifest), SLICE):
        part = manifest[asked].iloc[start : start + SLICE].join(index, on="clip_id")
        part = part.astype(object).where(part.notna(), None)
        yield from map(Row._make, part.itertuples(index=False, name=None))


def _accept(row: Row, outcome: Outcome, config: DataConfig, findings: Findings) -> Ready | None:
    """Check what came of a clip; None where it does not go into the store."""
    if outcome.kind:
        findings.add(row.dataset, outcome.kind, row.clip_id, outcome.reason)
        return None
    part = outcome.part or _known(row)
    if part.length < config.min_clip_frames and not row.path.lower().endswith(".png"):
        reason = f"The clip has {many(part.length, 'frame')}, {config.min_clip_frames} are needed."
        findings.add(row.dataset, "too_few_frames", row.clip_id, reason)
        return None
    notes = read_notes(part.notes)
    short = row.n_frames is not None and part.length < row.n_frames
    if short and TRUNCATED not in [note.kind for note in notes]:
        reason = f"The file holds {many(part.length, 'frame')}, its source says {row.n_frames}."
        notes.append(Note(TRUNCATED, reason, Severity.REPAIRED))
    for note in notes:
        findings.add(row.dataset, note.kind, row.clip_id, note.reason, note.severity)
    return Ready(
        clip_id=row.clip_id,
        length=part.length,
        fps=part.fps if row.fps is None else row.fps,
        container_fps=part.fps,
        source_hash=outcome.source_hash,
        content_hash=part.content_hash,
        stamp=outcome.stamp,
        notes=part.notes,
        times=part.times,
        kept=outcome.part is None,
    )


def _known(row: Row) -> Part:
    """What the store being replaced knows of a clip that did not change."""
    assert row.length is not None and row.content_hash is not None  # only such come without a part
    return Part(
        length=int(row.length),
        fps=row.container_fps,
        content_hash=row.content_hash,
        times=row.times,
        notes=row.notes or "",
    )
