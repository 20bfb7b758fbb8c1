"""MetaImage: the text header, the raw file beside it, and a packed one."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from echofm_core.data.readers.camus_mhd import CamusMhdReader
from tests.data.files import speckle
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import pick
from tests.data.fuzz.text import TEXT, replace_number

HEADER = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = {packed}
DimSize = 32 24 5
ElementType = {kind}
ElementDataFile = patient0001_4CH_sequence.raw
"""
KINDS = (b"MET_UCHAR", b"MET_CHAR", b"MET_USHORT", b"MET_SHORT", b"MET_FLOAT", b"MET_DOUBLE")


def plant(folder: Path) -> list[Seed]:
    frames, seeds = speckle(5, 24, 32), []
    for number, (kind, packed) in enumerate([("UCHAR", False), ("USHORT", False), ("FLOAT", True)]):
        place = folder / str(number) / "training" / "patient0001"
        place.mkdir(parents=True)
        (place / "Info_4CH.cfg").write_text("ED: 1\nES: 5\nNbFrame: 5\nLVef: 55.5\n")
        content = frames.astype({"UCHAR": "u1", "USHORT": "<u2", "FLOAT": "<f4"}[kind]).tobytes()
        head, raw = (place / f"patient0001_4CH_sequence.{end}" for end in ("mhd", "raw"))
        head.write_text(HEADER.format(packed=packed, kind=f"MET_{kind}"))
        raw.write_bytes(zlib.compress(content) if packed else content)
        root = folder / str(number)
        seeds += [
            Seed(file=file, root=root, read=CamusMhdReader().read) for file in (head, head, raw)
        ]
    return seeds


def element_type(data: bytes, rng: np.random.Generator) -> bytes:
    for kind in KINDS:
        data = data.replace(kind, pick(KINDS, rng))
    return data


def bomb(data: bytes, rng: np.random.Generator) -> bytes:
    """Zeros in place of a raw file."""
    size = pick((2**10, 2**20, 2**26), rng)
    return zlib.compress(bytes(size), 1) if b"DimSize" not in data and rng.random() < 0.1 else data


FORMAT = Format(
    name="mhd", plant=plant, own=0.8, mutators=(*TEXT, *[replace_number] * 3, element_type, bomb)
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)
