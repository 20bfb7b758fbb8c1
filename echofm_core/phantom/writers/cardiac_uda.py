"""CardiacUDA as downloaded: NIfTI sequences of two hospitals with sparse masks."""

from dataclasses import replace

import numpy as np

from echofm_core.phantom.anatomy import chamber_labels
from echofm_core.phantom.heart import draw_heart
from echofm_core.phantom.patients import Institution, examine
from echofm_core.phantom.scanners import ECHONET
from echofm_core.phantom.views import View
from echofm_core.phantom.writers.files import cut_short, write_nifti

EF_MEAN, EF_SD = 58.0, 9.0
FRAMES, MASKED = 36, 5
#: Folders of the two hospitals, and how their machines differ.
_WIDE = replace(ECHONET, height=192, width=256, apex=(128, 6), radius=176, fps=30)
HOSPITALS = {
    "Site_G_20": replace(_WIDE, gain=3, dynamic_range=48, lateral=1.6),
    "Site_G_100": replace(_WIDE, gain=3, dynamic_range=48, lateral=1.6, depth=17),
    "Site_R_52": replace(_WIDE, gain=-2, dynamic_range=60, gamma=1.7, haze=0.25),
}


def write(site: Institution) -> None:
    """Write ``cardiacUDC_dataset/``."""
    names = list(HOSPITALS)
    for name in names:
        (site.root / name).mkdir(parents=True)
    for patient, rng in site.each():
        name = names[patient % len(names)]
        exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, HOSPITALS[name], FRAMES, rng)
        stem = f"patient-{1 + patient // len(names)}-4"
        u, v = exam.pose.to_heart(*exam.scanner.pixel_grid())
        masks = np.zeros_like(exam.clip.frames)
        for frame in np.linspace(0, FRAMES - 1, MASKED).astype(int):
            masks[frame] = chamber_labels(exam.clip.moments[frame], u, v)
        write_nifti(site.root / name / f"{stem}_image.nii.gz", exam.clip.frames, np.eye(4))
        write_nifti(site.root / name / f"{stem}_label.nii.gz", masks, np.eye(4))
        site.truth.append(exam.truth(f"{name}_{stem}"))
    if site.errors:
        _plant(site)


def _plant(site: Institution) -> None:
    """Half a file, a single frame, what is no image, and a folder of no hospital."""
    rng = site.rng(0, "planted")
    exam = examine(draw_heart(rng, EF_MEAN, EF_SD), View.A4C, _WIDE, 12, rng)
    frames, folder = exam.clip.frames, site.root / "Site_R_52"
    write_nifti(folder / "patient-90-4_image.nii.gz", frames, np.eye(4))
    cut_short(folder / "patient-90-4_image.nii.gz", 300)
    site.plant("undecodable", "Site_R_52/patient-90-4_image.nii.gz")
    write_nifti(folder / "patient-91-4_image.nii.gz", frames[:1], np.eye(4))
    site.plant("still", "Site_R_52/patient-91-4_image.nii.gz")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    site.plant("stray_file", "Site_R_52/.DS_Store")
    (site.root / "label_all_frame").mkdir()
    write_nifti(site.root / "label_all_frame/patient-1-4_image.nii.gz", frames, np.eye(4))
    site.plant("no_site", "label_all_frame/patient-1-4_image.nii.gz")
