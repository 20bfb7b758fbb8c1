"""CAMUS as downloaded: NIfTI half cycles in two views, settings, masks and split lists."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echofm_core.phantom.anatomy import chamber_labels
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Exam, Institution, examine
from echofm_core.phantom.scanners import CAMUS, Scanner
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import write_nifti

EF_MEAN, EF_SD = 52.0, 12.5
VIEWS = {"2CH": View.A2C, "4CH": View.A4C}
#: Published shares of the image qualities, and how much worse they make haze and drop-out.
QUALITIES = {"Good": (0.58, 1.0), "Medium": (0.33, 2.2), "Poor": (0.09, 4.0)}
#: Years are drawn between these.
AGES = (30, 90)
#: The patient whose end-systole comes first, as in 19 of the 500.
TURNED = 3


def write(site: Institution) -> Path:
    """Write ``CAMUS_public/`` with its truth and planted errors beside it; returns the root."""
    root = site.folder / "CAMUS_public"
    for patient, rng in site.each():
        turned = site.errors and patient == TURNED
        _write_patient(root, site, f"patient{patient + 1:04d}", rng, turned)
    _write_splits(root / "database_split", site.patients, site.rng(0, "splits"))
    if site.errors:
        item = "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz"
        (root / item).write_bytes((root / item).read_bytes()[:200])
        site.plant("undecodable", item)
    return site.close(root)


def _write_patient(
    root: Path, site: Institution, name: str, rng: np.random.Generator, turned: bool
) -> None:
    """Both views of one heart, on one machine."""
    heart = draw_heart(rng, EF_MEAN, EF_SD)
    scanner, quality = _machine(rng)
    folder = root / "database_nifti" / name
    settings = {**draw_person(rng), "ImageQuality": quality}
    for chamber, view in VIEWS.items():
        exam = examine(heart, view, scanner, 0, rng, half_cycle=True)
        _write_view(folder, f"{name}_{chamber}", exam, turned)
        settings |= {"EF": round(exam.heart.ef), "FrameRate": exam.scanner.fps}
        write_settings(folder / f"Info_{chamber}.cfg", len(exam.clip.frames), turned, settings)
        site.truth.append({**exam.truth(f"{name}_{chamber}"), "quality": quality})
        if turned:
            item = f"database_nifti/{name}/{name}_{chamber}_half_sequence.nii.gz"
            site.plant("es_before_ed", item)


def draw_person(rng: np.random.Generator) -> dict[str, object]:
    """Sex and age, as the settings have them."""
    return {"Sex": "FM"[int(rng.integers(2))], "Age": int(rng.integers(*AGES))}


def _machine(rng: np.random.Generator) -> tuple[Scanner, str]:
    """A scanner in one of its two picture formats, at the quality that the patient allows."""
    scanner = CAMUS[int(rng.integers(len(CAMUS)))]
    names = list(QUALITIES)
    quality = names[int(rng.choice(len(names), p=[QUALITIES[name][0] for name in names]))]
    worse = QUALITIES[quality][1]
    return replace(scanner, haze=scanner.haze * worse, drop_out=scanner.drop_out * worse), quality


def _write_view(folder: Path, stem: str, exam: Exam, turned: bool) -> None:
    """Half sequence, its first and last frame, and a mask for each frame."""
    u, v = exam.pose.to_heart(*exam.scanner.pixel_grid())
    order = slice(None, None, -1 if turned else 1)
    masks = np.stack([chamber_labels(moment, u, v) for moment in exam.clip.moments])[order]
    folder.mkdir(parents=True, exist_ok=True)
    diastole, systole = (-1, 0) if turned else (0, -1)
    for suffix, values in (("", exam.clip.frames[order]), ("_gt", masks)):
        _save(folder / f"{stem}_half_sequence{suffix}.nii.gz", values, exam.scanner)
        _save(folder / f"{stem}_ED{suffix}.nii.gz", values[diastole][None], exam.scanner)
        _save(folder / f"{stem}_ES{suffix}.nii.gz", values[systole][None], exam.scanner)


def write_settings(path: Path, frames: int, turned: bool, more: dict[str, object]) -> None:
    """``Info_4CH.cfg``: frames are numbered from 1."""
    diastole, systole = (frames, 1) if turned else (1, frames)
    settings = {"ED": diastole, "ES": systole, "NbFrame": frames, **more}
    lines = "".join(f"{key}: {value}\n" for key, value in settings.items())
    path.write_text(lines, encoding="utf-8")


def _save(path: Path, frames: NDArray[np.uint8], scanner: Scanner) -> None:
    """Frames (N, H, W) with spacing in mm."""
    across, down = scanner.pixels_per_cm
    write_nifti(path, frames, np.diag([10 / across, 10 / down, 1.0, 1.0]))


def _write_splits(folder: Path, patients: int, rng: np.random.Generator) -> None:
    """Scattered ids, as the official lists have them: never assume the last patients."""
    folder.mkdir(parents=True)
    order = rng.permutation(patients) + 1
    test, validation = round(patients * 0.25), round(patients * 0.06)
    parts = {
        "testing": order[:test],
        "validation": order[test : test + validation],
        "training": order[test + validation :],
    }
    for part, ids in parts.items():
        lines = "".join(f"patient{number:04d}\n" for number in sorted(ids))
        (folder / f"subgroup_{part}.txt").write_text(lines, encoding="utf-8")
