"""PNG stills of every colour type, of a study of TMED-2."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from echofm_core.data.readers.tmed2 import Tmed2Reader
from tests.data.files import speckle, write_png
from tests.data.fuzz.harness import Format, Seed, assert_harmless, parts
from tests.data.fuzz.mutations import boundary, fields_of, pick, poke

CHUNKS = "IHDR|PLTE|tRNS|IDAT|IEND|zTXt|iTXt|tEXt|acTL|fcTL|fdAT|eXIf|iCCP|gAMA"
MODES = ("L", "RGB", "P", "LA", "RGBA", "1", "I;16")


def plant(folder: Path) -> list[Seed]:
    """Every second study has another, sound image, to whose size or from which one is fitted."""
    seeds = []
    for number, mode in enumerate(MODES):
        root = folder / str(number)
        place = root / "view_labeled_set" / "labeled"
        place.mkdir(parents=True)
        rows = "".join(f"7s1_{image}.png,PLAX,no_AS\n" for image in range(2))
        (root / "labels_per_image.csv").write_text(f"query_key,view_label,diagnosis_label\n{rows}")
        images = speckle(2, 24, 32)
        if number % 2:
            write_png(place / "7s1_1.png", images[1])
        image = Image.fromarray(images[0])
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", "zebra" * 50, zip=True)
        made = (
            Image.fromarray(images[0].astype(np.uint16) * 256)
            if mode == "I;16"
            else image.convert(mode)
        )
        made.save(place / "7s1_0.png", pnginfo=text)
        seeds.append(Seed(file=place / "7s1_0.png", root=root, read=Tmed2Reader().read))
    return seeds


def head(data: bytes, rng: np.random.Generator) -> bytes:
    """Size, depth, colour type, compression, filter or interlace, under a right checksum."""
    at = data.find(b"IHDR")
    if at < 0:
        return data
    field, size = pick(((4, 4), (8, 4), (12, 1), (13, 1), (14, 1), (15, 1), (16, 1)), rng)
    value = boundary(data, size, rng, ">")
    if size == 1 and rng.random() < 0.8:
        value = bytes([pick((0, 1, 2, 3, 4, 6, 8, 16), rng)])
    data = poke(data, at + field, value)
    return poke(data, at + 17, struct.pack(">I", zlib.crc32(data[at : at + 17])))


def checksums(data: bytes, rng: np.random.Generator) -> bytes:
    """All made right, so that what was changed before is looked at."""
    at = 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + size > len(data):
            break
        right = zlib.crc32(data[at + 4 : at + 8 + size])
        data, at = poke(data, at + 8 + size, struct.pack(">I", right)), at + 12 + size
    return data


def packed_bomb(data: bytes, rng: np.random.Generator) -> bytes:
    """Text, a colour profile or the picture itself that unpacks to 64 MB."""
    kind = pick((b"zTXt", b"iCCP", b"iTXt", b"IDAT"), rng)
    if rng.random() < 0.8:
        return data
    opening = {b"zTXt": b"a\0\0", b"iCCP": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}.get(kind, b"")
    body = kind + opening + zlib.compress(bytes(2**26), 1)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:33] + chunk + data[33:]


FORMAT = Format(
    name="png",
    plant=plant,
    mutators=(
        head,
        head,
        head,
        fields_of(CHUNKS, order=">", size_at=-4, longest=16),
        checksums,
        packed_bomb,
    ),
    secrets=("zebra",),
)


@parts
def test_mutated(numbers: range) -> None:
    assert_harmless(FORMAT, numbers)
