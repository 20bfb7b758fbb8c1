"""What readers of DICOM share: a file's header as the columns of a manifest row."""

from __future__ import annotations

from pathlib import Path

from echofm_core.data.dicom.header import ObjectKind, read_header
from echofm_core.data.findings import Findings, Severity
from echofm_core.errors import UnreadableFileError

REASONS = {
    ObjectKind.STILL: "The object has one frame.",
    ObjectKind.SPECTRAL: "The object is a spectral Doppler trace.",
    ObjectKind.M_MODE: "The object is an M-mode trace.",
    ObjectKind.COLOUR: "The cine shows colour flow over the grey image.",
    ObjectKind.CONTRAST: "The cine was recorded with a contrast agent.",
    ObjectKind.OTHER: "The object is not an ultrasound image.",
}


def cine_columns(
    path: Path, dataset: str, item: str, findings: Findings
) -> dict[str, object] | None:
    """Path, length, timing, size and scanner of a grey cine; None, and noted, for anything else.

    Only the header is read. The item is named in findings by ``item``.
    """
    try:
        header = read_header(path)
    except UnreadableFileError as error:
        findings.add(dataset, "undecodable", item, str(error))
        return None
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
        "path": str(path),
        "n_frames": header.n_frames,
        "fps": header.fps,
        "height": header.height or None,
        "width": header.width or None,
        "vendor": header.vendor,
        "model": header.model,
    }
