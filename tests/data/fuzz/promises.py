"""What must hold of every file, however damaged: read to something sane, or refused in one line."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from echofm_core.data.config import Square
from echofm_core.data.decode import Decoded, decode_clip, sources
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.formats.timeline import Timeline
from echofm_core.data.manifest import COLUMNS, validate
from echofm_core.data.resize import in_square
from echofm_core.runtime.errors import DataRootError, UnreadableFileError
from tests.data.fuzz.harness import Format, Seed

#: Characters of a message.
LONGEST = 2000
#: Side of stored frames.
SIZE = 112


class Hurt(Exception):  # noqa: N818 - a verdict
    """A case that broke a promise."""


def examine(format_: Format, seed: Seed) -> str:
    """Read the root and decode what the file is a part of: ``read`` or ``refused: why``.

    Raises:
        Hurt: A promise is broken.
    """
    try:
        manifest, findings = seed.read(seed.root)
    except DataRootError as error:
        _check_text(format_, str(error), error)
        return f"refused: {error}"
    _check_manifest(format_, manifest)
    _check_findings(format_, seed, findings)
    for row in manifest.itertuples():
        try:
            if seed.file in sources(str(row.path)):
                _check_clip(decode_clip(str(row.path), str(row.dataset), SIZE))
        except UnreadableFileError as error:
            _check_text(format_, str(error), error)
            if str(seed.root) in str(error):
                raise Hurt(f"a message names the file: {error}") from None
            return f"refused: {error}"
    lost = [item.reason for item in findings.items if item.severity is Severity.QUARANTINED]
    return f"refused: {lost[0]}" if lost and not len(manifest) else "read: "


def _check_manifest(format_: Format, manifest: pd.DataFrame) -> None:
    validate(manifest)
    for column in manifest.columns:
        values = manifest[column].dropna()
        if COLUMNS[column].startswith("Float") and not np.isfinite(values.to_numpy(float)).all():
            raise Hurt(f"the manifest's `{column}` is not finite")
        if column in ("n_frames", "height", "width", "fps") and not (values > 0).all():
            raise Hurt(f"the manifest's `{column}` is not positive")
        if column == "fps" and values.size:
            _check_windows(100, float(values.max()))
        if column != "path":
            _check_secrets(format_, " ".join(map(str, values)))


def _check_findings(format_: Format, seed: Seed, findings: Findings) -> None:
    for finding in findings.items:
        _check_secrets(format_, finding.item)
        _check_text(format_, finding.reason)
        if str(seed.root) in finding.reason + finding.item:
            raise Hurt(f"a finding names the root: {finding}")


def _check_text(format_: Format, text: str, error: BaseException | None = None) -> None:
    """One printable sentence that tells nothing of the file; not for want of memory."""
    _check_secrets(format_, text)
    if not text.isprintable() or not 10 < len(text) < LONGEST:
        raise Hurt(f"no printable sentence of decent length: {text[:200]!r} ({len(text)})")
    while error is not None:
        if isinstance(error, MemoryError) or "MemoryError" in text:
            raise Hurt(f"memory was asked for that is not there: {text}")
        error = error.__cause__ or error.__context__


def _check_secrets(format_: Format, text: str) -> None:
    if told := [secret for secret in format_.secrets if secret.lower() in text.lower()]:
        raise Hurt(f"{told} came out: {text[:200]!r}")


def _check_clip(clip: Decoded) -> None:
    """Frames, sector and rate as promised, and the stored form made of them."""
    count, height, width = clip.frames.shape
    if clip.frames.dtype != np.uint8 or min(count, height, width) < 1:
        raise Hurt(f"frames are {clip.frames.dtype} {clip.frames.shape}")
    if clip.sector.dtype != bool or clip.sector.shape != (height, width):
        raise Hurt(f"the sector is {clip.sector.dtype} {clip.sector.shape}")
    if clip.fps is not None and not (math.isfinite(clip.fps) and clip.fps > 0):
        raise Hurt(f"fps is {clip.fps}")
    frames, mask = in_square(clip.frames, clip.sector, None, Square(SIZE, 0))
    if (frames.shape, mask.shape) != ((count, SIZE, SIZE), (SIZE, SIZE)):
        raise Hurt("the clip does not fit the store")
    _check_windows(count, clip.fps)


def _check_windows(length: int, fps: float | None) -> None:
    picks = Timeline(length=length, fps=fps, frames=16, seconds=1.3).cover(3)
    if not all(np.isfinite(one.times).all() and (one.indices < length).all() for one in picks):
        raise Hurt(f"no windows come of {length} frames at {fps}")
