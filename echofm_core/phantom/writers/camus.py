"""CAMUS as downloaded, both releases: half cycles in two views, settings and masks.

The present release has NIfTI and split lists; the earlier one MHD, with EF and volumes.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.anatomy import chamber_labels
from echofm_core.phantom.heart import Heart, draw_heart
from echofm_core.phantom.patients import Exam, Institution, Row, examine
from echofm_core.phantom.scanners import CAMUS, Scanner
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import cut_short, write_nifti

EF_MEAN, EF_SD = 52.0, 12.5
VIEWS = {"2CH": View.A2C, "4CH": View.A4C}
#: Published shares of the image qualities, and how much worse they make haze and drop-out.
QUALITIES = {"Good": (0.58, 1.0), "Medium": (0.33, 2.2), "Poor": (0.09, 4.0)}
#: Years are drawn between these.
AGES = (30, 90)
#: The patient whose end-systole comes first, as in 19 of the 500, in either release.
TURNED, TURNED_MHD = 3, "training/patient0002"
#: Training patients that the planted errors of the earlier release need.
NEEDED = 3


def write(site: Institution) -> None:
    """Write ``CAMUS_public/``, the present release."""
    for patient, rng in site.each():
        name, turned = f"patient{patient + 1:04d}", site.errors and patient == TURNED
        heart = draw_heart(rng, EF_MEAN, EF_SD)
        scanner, quality = _machine(rng)
        settings = {**_draw_person(rng), "ImageQuality": quality}
        for chamber, view in VIEWS.items():
            stem = f"database_nifti/{name}/{name}_{chamber}"
            exam = examine(heart, view, scanner, 0, rng, half_cycle=True)
            _write_nifti_view(site.root / stem, exam, turned)
            settings |= {"EF": round(heart.ef), "FrameRate": exam.scanner.fps}
            _write_settings(site.root / stem, exam, turned, settings)
            site.truth.append({**exam.truth(f"{name}_{chamber}"), "quality": quality})
            if turned:
                site.plant("es_before_ed", f"{stem}_half_sequence.nii.gz")
    _write_splits(site)
    if site.errors:
        item = "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz"
        cut_short(site.root / item, 200)
        site.plant("undecodable", item)


def write_mhd(site: Institution) -> None:
    """Write ``CAMUS/``, the earlier release. Every fifth patient is in ``testing/``."""
    testing = site.patients // 5
    for patient, rng in site.each():
        part = "testing" if patient < testing else "training"
        name = f"patient{1 + patient - (0 if patient < testing else testing):04d}"
        heart = draw_heart(rng, EF_MEAN, EF_SD)
        scanner = CAMUS[int(rng.integers(len(CAMUS)))]
        settings = {**_draw_person(rng), "ImageQuality": "Good", **_volumes(heart)}
        turned = site.errors and f"{part}/{name}" == TURNED_MHD
        for chamber, view in VIEWS.items():
            exam = examine(heart, view, scanner, 0, rng, half_cycle=True)
            stem = f"{part}/{name}/{name}_{chamber}"
            (site.root / stem).parent.mkdir(parents=True, exist_ok=True)
            for moment, frames in _sequences(exam.clip.frames, turned).items():
                _save_mhd(site.root / f"{stem}_{moment.removeprefix('half_')}.mhd", frames, scanner)
            _write_settings(site.root / stem, exam, turned, settings)
            site.truth.append(exam.truth(f"{part}_{name}_{chamber}"))
            if turned:
                site.plant("es_before_ed", f"{stem}_sequence.mhd")
    if site.errors and site.patients - testing >= NEEDED:
        _plant_mhd(site)


def _draw_person(rng: np.random.Generator) -> Row:
    """Sex and age, as the settings have them."""
    return {"Sex": "FM"[int(rng.integers(2))], "Age": int(rng.integers(*AGES))}


def _volumes(heart: Heart) -> Row:
    values = {"LVedv": heart.edv, "LVesv": heart.esv, "LVef": heart.ef}
    return {name: f"{value:.1f}" for name, value in values.items()}


def _machine(rng: np.random.Generator) -> tuple[Scanner, str]:
    """A scanner in one of its two picture formats, at the quality that the patient allows."""
    scanner = CAMUS[int(rng.integers(len(CAMUS)))]
    names = list(QUALITIES)
    quality = names[int(rng.choice(len(names), p=[QUALITIES[name][0] for name in names]))]
    worse = QUALITIES[quality][1]
    return replace(scanner, haze=scanner.haze * worse, drop_out=scanner.drop_out * worse), quality


def _sequences(frames: NDArray[np.uint8], turned: bool) -> dict[str, NDArray[np.uint8]]:
    """Half sequence, and its first and last moment as sequences of one frame."""
    ends = {"ED": frames[:1], "ES": frames[-1:]}
    return {"half_sequence": frames[::-1] if turned else frames, **ends}


def _write_nifti_view(stem: Path, exam: Exam, turned: bool) -> None:
    """The sequences, and a mask for each frame; spacing in mm."""
    u, v = exam.pose.to_heart(*exam.scanner.pixel_grid())
    masks = np.stack([chamber_labels(moment, u, v) for moment in exam.clip.moments])
    across, down = exam.scanner.pixels_per_cm
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix, values in (("", exam.clip.frames), ("_gt", masks)):
        for moment, frames in _sequences(values, turned).items():
            path = stem.with_name(f"{stem.name}_{moment}{suffix}.nii.gz")
            write_nifti(path, frames, np.diag([10 / across, 10 / down, 1.0, 1.0]))


def _write_settings(stem: Path, exam: Exam, turned: bool, more: Row) -> None:
    """``Info_4CH.cfg``: frames are numbered from 1."""
    frames = len(exam.clip.frames)
    diastole, systole = (frames, 1) if turned else (1, frames)
    settings = {"ED": diastole, "ES": systole, "NbFrame": frames, **more}
    lines = "".join(f"{key}: {value}\n" for key, value in settings.items())
    stem.with_name(f"Info_{stem.name[-3:]}.cfg").write_text(lines, encoding="utf-8")


def _save_mhd(path: Path, frames: NDArray[np.uint8], scanner: Scanner) -> None:
    """Frames (N, H, W) as a header and a raw file."""
    across, down = scanner.pixels_per_cm
    count, height, width = frames.shape
    raw = path.with_suffix(".raw")
    raw.write_bytes(frames.tobytes())
    path.write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n"
        f"ElementSpacing = {10 / across:.4f} {10 / down:.4f} 1\n"
        f"DimSize = {width} {height} {count}\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {raw.name}\n",
        encoding="ascii",
    )


def _write_splits(site: Institution) -> None:
    """Scattered ids, as the official lists have them: never assume the last patients."""
    (site.root / "database_split").mkdir(parents=True)
    order = site.rng(0, "splits").permutation(site.patients) + 1
    test, validation = round(site.patients * 0.25), round(site.patients * 0.06)
    parts = np.split(order, [test, test + validation])
    for part, ids in zip(("testing", "validation", "training"), parts, strict=True):
        lines = "".join(f"patient{number:04d}\n" for number in sorted(ids))
        file = site.root / f"database_split/subgroup_{part}.txt"
        file.write_text(lines, encoding="utf-8")


def _plant_mhd(site: Institution) -> None:
    """No raw file for one view of the first patient, half of it for the other, no settings."""
    first = "training/patient0001/patient0001"
    (site.root / f"{first}_2CH_sequence.raw").unlink()
    site.plant("undecodable", f"{first}_2CH_sequence.mhd")
    cut_short(site.root / f"{first}_4CH_sequence.raw", -1)
    site.plant("truncated_clip", f"{first}_4CH_sequence.mhd")
    (site.root / "training/patient0003/Info_4CH.cfg").unlink()
    site.plant("no_settings", "training/patient0003/patient0003_4CH_sequence.mhd")
