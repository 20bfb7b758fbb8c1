"""The settings and split lists beside the sequences of CAMUS, in both releases."""

from __future__ import annotations

from pathlib import Path

from echofm_core.data.readers.camus import CamusReader
from tests.data.files import speckle, write_nifti
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.text import TEXT, replace_number

SETTINGS = (
    "ED: 1\nES: 6\nNbFrame: 6\nSex: F\nAge: 56\nImageQuality: Good\nEF: 54\nFrameRate: 48.4\n",
    "ED: 6\nES: 1\nNbFrame: 6\nImageQuality: Poor\nLVedv: 101.5\nLVesv: 44.1\nLVef: 56.5\n",
)


def plant(folder: Path) -> list[Seed]:
    seeds = []
    for number, settings in enumerate(SETTINGS):
        root = folder / str(number)
        place, lists = root / "database_nifti" / "patient0001", root / "database_split"
        place.mkdir(parents=True)
        lists.mkdir()
        write_nifti(place / "patient0001_4CH_half_sequence.nii.gz", speckle(6, 24, 32))
        for name in ("training", "validation", "testing"):
            (lists / f"subgroup_{name}.txt").write_text(
                "patient0001\n" if name == "training" else ""
            )
        (place / "Info_4CH.cfg").write_text(settings)
        files = [place / "Info_4CH.cfg"] * 4 + [lists / "subgroup_training.txt"]
        seeds += [Seed(file=file, root=root, read=CamusReader().read) for file in files]
    return seeds


FORMAT = Format(name="cfg", plant=plant, own=0.8, mutators=(*TEXT, replace_number, replace_number))


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)
