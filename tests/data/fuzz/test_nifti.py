"""NIfTI, packed or not, of every number format that a release has had."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np

from echofm_core.data.readers.cardiac_uda import CardiacUdaReader
from tests.data.files import speckle
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import Mutator, boundary, mutate, pick, poke

#: Offset and size of header fields: sizeof_hdr, dim[0..7], datatype, bitpix, pixdim, vox_offset,
#: scl_slope, scl_inter, units, qform, magic, extension flag and size.
FIELDS = (
    (0, 4),
    *((40 + 2 * axis, 2) for axis in range(8)),
    (70, 2),
    (72, 2),
    (76, 4),
    (108, 4),
    (112, 4),
    (116, 4),
    (123, 1),
    (252, 2),
    (344, 4),
    (348, 4),
    (352, 4),
)
#: 0, 1, -1, 1e30, largest, infinite, not a number, 0.5, 352, 1e9.
FLOATS = np.array([0, 1, -1, 1e30, 3e38, np.inf, np.nan, 0.5, 352, 1e9], dtype="<f4")
DATATYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304)


def plant(folder: Path) -> list[Seed]:
    frames, seeds = speckle(5, 24, 32).transpose(2, 1, 0), []
    volumes = {
        "bytes.nii.gz": frames,
        "plain.nii": frames,
        "short.nii": frames.astype(np.int16) * 100,
        "real.nii.gz": frames.astype(np.float32),
        "complex.nii": frames.astype(np.complex64),
        "single.nii.gz": frames[:, :, None, :],
    }
    for number, (name, values) in enumerate(volumes.items()):
        place = folder / str(number) / "Site_G_20"
        place.mkdir(parents=True)
        image = nibabel.Nifti1Image(values, np.eye(4))
        if name == "short.nii":
            image.header.set_slope_inter(0.01, 0)
        file = place / f"patient-1-4_image{name[name.index('.') :]}"
        nibabel.save(image, file)
        seeds.append(Seed(file=file, root=place.parent, read=CardiacUdaReader().read))
    return seeds


def header_field(data: bytes, rng: np.random.Generator) -> bytes:
    """A field of the header to a boundary, a float that is none, or another number format."""
    at, size = pick(FIELDS, rng)
    if at == 70 and rng.random() < 0.7:
        return poke(data, at, pick(DATATYPES, rng).to_bytes(2, "little"))
    if size == 4 and rng.random() < 0.7:
        return poke(data, at, pick(FLOATS, rng).tobytes())
    return poke(data, at, boundary(data, size, rng, "<"))


def within(change: Mutator) -> Mutator:
    """The same change to what is packed, packed again."""

    def inner(data: bytes, rng: np.random.Generator) -> bytes:
        try:
            unpacked = zlib.decompressobj(31).decompress(data, 2**20)
        except zlib.error:
            return change(data, rng)
        return gzip.compress(change(unpacked, rng), 1, mtime=0)

    return inner


def bomb(data: bytes, rng: np.random.Generator) -> bytes:
    """64 MB of zeros behind the header, packed to 64 kB, with dimensions to fit, or larger ones."""
    if rng.random() < 0.8:
        return data  # a second of packing each
    try:
        head = zlib.decompressobj(31).decompress(data, 352)
    except zlib.error:
        head = data[:352]
    wide = pick((1024, 4096, 8192, 32767), rng)
    sides = np.array([wide, wide, pick((1, 16, 4096), rng)], "<u2").tobytes()
    return gzip.compress(
        poke(head, 42, sides) + bytes(pick((2**20, 2**24, 2**26), rng)), 1, mtime=0
    )


FORMAT = Format(
    name="nifti",
    plant=plant,
    mutators=(
        *[within(header_field)] * 6,
        *[within(lambda data, rng: mutate(data, data, (), rng))] * 3,
        bomb,
    ),
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)
