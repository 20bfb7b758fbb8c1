"""What readers of DICOM share: a file's header as the columns of a manifest row.

Looking is apart from noting, so that many files can be looked at in parallel and what is found be
noted in their order.
"""

from pathlib import Path
from typing import NamedTuple

from echofm_core.data.colour import ColourFlowError
from echofm_core.data.dicom.frames import shows_colour
from echofm_core.data.dicom.header import Header, ObjectKind, read_header
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.readers._source import Refusal, file_at
from echofm_core.runtime.errors import UnreadableFileError

REASONS = {
    ObjectKind.STILL: "The object has one frame.",
    ObjectKind.SPECTRAL: "The object is a spectral Doppler trace.",
    ObjectKind.M_MODE: "The object is an M-mode trace.",
    ObjectKind.CONTRAST: "The cine was recorded with a contrast agent.",
    ObjectKind.OTHER: "The object is not a two-dimensional ultrasound image.",
}
#: What stands for a look that took its process down.
DIED = Refusal(
    "decoder_died",
    "A process died while it read the file's header, and again with nothing else running.",
)


class Look(NamedTuple):
    """A file that is there and has a header."""

    path: str
    header: Header


def look(relative: str, root: Path) -> Look | Refusal:
    """Open one file for its header; for :func:`~echofm_core.data.readers._files.over_files`.

    Of a cine, a few frames are looked at too. Nothing is raised: a refusal is returned.
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
    return Look(str(path), header)


def cine_columns(
    found: Look | Refusal, dataset: str, item: str, findings: Findings
) -> dict[str, object] | None:
    """Path, length, timing, size and scanner of a grey cine; None, and noted, for anything else.

    Args:
        found: What :func:`look` saw of the file.
        dataset, item: How findings name it.
        findings: Where what is wrong goes.
    """
    if isinstance(found, Refusal):
        findings.add(dataset, found.kind, item, found.reason)
        return None
    path, header = found
    if header.kind is not ObjectKind.CINE:
        findings.add(dataset, header.kind.value, item, REASONS[header.kind])
        return None
    if header.region is None:
        reason = "No image region is declared; the sector is found from the frames alone."
        findings.add(dataset, "no_region", item, reason, Severity.REPAIRED)
    if header.fps is None:
        reason = "No element gives the frame rate; times are taken from the frame index."
        findings.add(dataset, "no_timing", item, reason, Severity.REPAIRED)
    return {
        "dataset": dataset,
        "path": path,
        "n_frames": header.n_frames,
        "fps": header.fps,
        "height": header.height or None,
        "width": header.width or None,
        "vendor": header.vendor,
        "model": header.model,
    }
