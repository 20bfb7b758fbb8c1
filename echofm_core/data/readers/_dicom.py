"""What readers of DICOM share: a file's header as the columns of a manifest row.

Headers are read apart from noting, so that many files can be read in parallel and what is found be
noted in their order.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from echofm_core.data.colour import ColourFlowError
from echofm_core.data.dicom.frames import shows_colour
from echofm_core.data.dicom.header import Header, ObjectKind, read_header
from echofm_core.data.parallel import over_files
from echofm_core.data.readers._source import Refusal, Row, Source, file_at
from echofm_core.runtime.errors import UnreadableFileError

REASONS = {
    ObjectKind.STILL: "The object has one frame.",
    ObjectKind.SPECTRAL: "The object is a spectral Doppler trace.",
    ObjectKind.M_MODE: "The object is an M-mode trace.",
    ObjectKind.CONTRAST: "The cine was recorded with a contrast agent.",
    ObjectKind.OTHER: "The object is not a two-dimensional ultrasound image.",
}
#: What stands for a file that took its process down.
DIED = Refusal(
    "decoder_died",
    "A process died while it read the file's header, and again with nothing else running.",
)


class FileHeader(NamedTuple):
    """A file that is there and has a header."""

    path: str
    header: Header


def read_file_header(relative: str, root: Path) -> FileHeader | Refusal:
    """Open one file for its header; for :func:`~echofm_core.data.parallel.over_files`.

    A few frames of a cine are checked for colour flow. A refusal is returned, nothing is raised.
    """
    path = file_at(root, relative)
    if isinstance(path, Refusal):
        return path
    try:
        header = read_header(path)
        if header.kind is ObjectKind.CINE and shows_colour(path):
            raise ColourFlowError
    except UnreadableFileError as error:
        return Refusal(error.kind, str(error))
    return FileHeader(str(path), header)


def headers_of(source: Source, files: Sequence[str]) -> Iterator[Row | None]:
    """:func:`cine_columns` of many files, named as they lie below the root.

    Raises:
        DataRootError: A process cannot be started.
    """
    read = partial(read_file_header, root=source.root)
    headers = over_files(read, files, "reading headers", DIED)
    for item, found in zip(files, headers, strict=True):
        yield cine_columns(found, source, item)


def cine_columns(found: FileHeader | Refusal, source: Source, item: str) -> Row | None:
    """Path, length, timing, size and scanner of a grey cine; None, and noted, for anything else."""
    if isinstance(found, Refusal):
        source.quarantined(found.kind, item, found.reason)
        return None
    path, header = found
    if header.kind is not ObjectKind.CINE:
        source.quarantined(header.kind.value, item, REASONS[header.kind])
        return None
    if header.region is None:
        reason = "No image region is declared; the sector is found from the frames alone."
        source.repaired("no_region", item, reason)
    if header.fps is None:
        reason = "No element gives the frame rate; times are taken from the frame index."
        source.repaired("no_timing", item, reason)
    return {
        "dataset": source.dataset,
        "path": path,
        "n_frames": header.n_frames,
        "fps": header.fps,
        "height": header.height or None,
        "width": header.width or None,
        "vendor": header.vendor,
        "model": header.model,
        "depth_cm": header.depth_cm,
        "frequency_mhz": header.frequency_mhz,
    }
