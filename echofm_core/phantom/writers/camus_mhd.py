"""The earlier CAMUS release as downloaded: MHD half cycles with EF and volumes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Exam, Institution, examine
from echofm_core.phantom.scanners import CAMUS, Scanner
from echofm_core.phantom.writers.camus import EF_MEAN, EF_SD, VIEWS, draw_person, write_settings

#: The patient whose end-systole comes first; those that planted errors need.
TURNED, NEEDED = "training/patient0002", 3


def write(site: Institution) -> Path:
    """Write ``CAMUS/``; returns the root. Every fifth patient is in ``testing/``."""
    root = site.folder / "CAMUS"
    testing = site.patients // 5
    for patient, rng in site.each():
        part = "testing" if patient < testing else "training"
        name = f"patient{1 + patient - (0 if patient < testing else testing):04d}"
        heart = draw_heart(rng, EF_MEAN, EF_SD)
        scanner = CAMUS[int(rng.integers(len(CAMUS)))]
        person = draw_person(rng)
        turned = site.errors and f"{part}/{name}" == TURNED
        for chamber, view in VIEWS.items():
            exam = examine(heart, view, scanner, 0, rng, half_cycle=True)
            stem = f"{part}/{name}/{name}_{chamber}"
            _write_view(root, stem, exam, person, turned)
            site.truth.append(exam.truth(f"{part}_{name}_{chamber}"))
            if turned:
                site.plant("es_before_ed", f"{stem}_sequence.mhd")
    if site.errors and site.patients - testing >= NEEDED:
        _plant(root, site)
    return site.close(root)


def _write_view(root: Path, stem: str, exam: Exam, person: dict[str, object], turned: bool) -> None:
    frames = exam.clip.frames[::-1] if turned else exam.clip.frames
    (root / stem).parent.mkdir(parents=True, exist_ok=True)
    diastole, systole = (-1, 0) if turned else (0, -1)
    for suffix, values in (
        ("sequence", frames), ("ED", frames[diastole][None]), ("ES", frames[systole][None]),
    ):  # fmt: skip
        _save(root / f"{stem}_{suffix}.mhd", values, exam.scanner)
    settings = {
        **person,
        "ImageQuality": "Good",
        "LVedv": f"{exam.heart.edv:.1f}",
        "LVesv": f"{exam.heart.esv:.1f}",
        "LVef": f"{exam.heart.ef:.1f}",
    }
    path = (root / stem).with_name(f"Info_{stem.rpartition('_')[2]}.cfg")
    write_settings(path, len(frames), turned, settings)


def _save(path: Path, frames: NDArray[np.uint8], scanner: Scanner) -> None:
    """Frames (N, H, W) as a header and a raw file."""
    across, down = scanner.pixels_per_cm
    count, height, width = frames.shape
    raw = path.with_suffix(".raw")
    raw.write_bytes(np.ascontiguousarray(frames).tobytes())
    path.write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        f"ElementSpacing = {10 / across:.4f} {10 / down:.4f} 1\n"
        f"DimSize = {width} {height} {count}\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {raw.name}\n",
        encoding="ascii",
    )


def _plant(root: Path, site: Institution) -> None:
    """No raw file for one view of the first patient, half of it for the other, no settings."""
    first = "training/patient0001/patient0001"
    (root / f"{first}_2CH_sequence.raw").unlink()
    site.plant("undecodable", f"{first}_2CH_sequence.mhd")
    raw = root / f"{first}_4CH_sequence.raw"
    raw.write_bytes(raw.read_bytes()[:-1])
    site.plant("truncated_clip", f"{first}_4CH_sequence.mhd")
    (root / "training/patient0003/Info_4CH.cfg").unlink()
    site.plant("no_settings", "training/patient0003/patient0003_4CH_sequence.mhd")
