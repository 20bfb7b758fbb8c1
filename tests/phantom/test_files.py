"""NIfTI as nibabel writes it."""

from pathlib import Path

import nibabel
import numpy as np

from echofm_core.phantom.writers.files import write_nifti


def test_bytes_are_those_of_nibabel(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 31, 17), dtype=np.uint8)
    affine = np.diag([0.3, 0.4, 1.0, 1.0])
    write_nifti(tmp_path / "ours.nii.gz", frames, affine)
    image = nibabel.Nifti1Image(np.ascontiguousarray(frames.transpose(2, 1, 0)), affine)
    nibabel.save(image, tmp_path / "theirs.nii.gz")
    assert (tmp_path / "ours.nii.gz").read_bytes() == (tmp_path / "theirs.nii.gz").read_bytes()
