"""CAMUS as downloaded: NIfTI half cycles in two views, settings, masks and split lists."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from echofm_core.console import Meter
from echofm_core.phantom.anatomy import View, chamber_labels
from echofm_core.phantom.heart import Heart
from echofm_core.phantom.patients import Institution, examine, new_heart
from echofm_core.phantom.scanners import CAMUS

EF_MEAN, EF_SD = 52.0, 12.5
VIEWS = {"2CH": View.A2C, "4CH": View.A4C}


def write(folder: Path, patients: int, seed: int, errors: bool, meter: Meter | None) -> Path:
    """Write ``CAMUS_public/`` with its truth and planted errors beside it; returns the root."""
    root = folder / "CAMUS_public"
    place = Institution("camus", seed)
    for patient in range(patients):
        rng = place.rng(patient, "patient")
        heart = new_heart(rng, EF_MEAN, EF_SD)
        name = f"patient{patient + 1:04d}"
        turned = errors and patient == 3
        for chamber in VIEWS:
            _write_view(root / "database_nifti" / name, name, chamber, heart, rng, turned)
            if turned:
                item = f"database_nifti/{name}/{name}_{chamber}_half_sequence.nii.gz"
                place.plant("es_before_ed", item)
        place.truth.append(
            {"clip": name, "ef": heart.ef, "esv": heart.esv, "edv": heart.edv, "rate": heart.rate}
        )
        if meter:
            meter.advance()
    _write_splits(root / "database_split", patients, place.rng(0, "splits"))
    if errors and patients:
        item = "database_nifti/patient0001/patient0001_2CH_half_sequence.nii.gz"
        (root / item).write_bytes((root / item).read_bytes()[:200])
        place.plant("undecodable", item)
    return place.close(root)


def _write_view(
    folder: Path,
    name: str,
    chamber: str,
    heart: Heart,
    rng: np.random.Generator,
    turned: bool,
) -> None:
    clip, pose = examine(heart, VIEWS[chamber], CAMUS, 0, rng, half_cycle=True)
    u, v = pose.to_heart(*CAMUS.pixel_grid())
    masks = np.stack([chamber_labels(moment, u, v) for moment in clip.moments])
    frames = clip.frames[::-1] if turned else clip.frames
    masks = masks[::-1] if turned else masks
    first, last = (len(frames), 1) if turned else (1, len(frames))
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, values in (("", frames), ("_gt", masks)):
        _save(folder / f"{name}_{chamber}_half_sequence{suffix}.nii.gz", values)
        _save(folder / f"{name}_{chamber}_ED{suffix}.nii.gz", values[first - 1 : first])
        _save(folder / f"{name}_{chamber}_ES{suffix}.nii.gz", values[last - 1 : last])
    settings = {
        "ED": first,
        "ES": last,
        "NbFrame": len(frames),
        "Sex": "F" if heart.wall < 0.93 else "M",
        "Age": int(rng.integers(30, 90)),
        "ImageQuality": ("Good", "Medium", "Poor")[int(rng.choice(3, p=[0.58, 0.33, 0.09]))],
        "EF": round(heart.ef),
        "FrameRate": CAMUS.fps,
    }
    lines = "".join(f"{key}: {value}\n" for key, value in settings.items())
    (folder / f"Info_{chamber}.cfg").write_text(lines, encoding="utf-8")


def _save(path: Path, frames: NDArray[np.uint8]) -> None:
    """Frames (N, H, W) as NIfTI (W, H, N) with spacing in mm."""
    spacing = 10 / CAMUS.pixels_per_cm
    image = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        np.ascontiguousarray(frames.transpose(2, 1, 0)), np.diag([spacing, spacing, 1.0, 1.0])
    )
    nibabel.save(image, path)


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
