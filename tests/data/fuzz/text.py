"""Changes to text: numbers, lines, encodings, fields without end."""

from __future__ import annotations

import re

import numpy as np

from tests.data.fuzz.mutations import Mutator, pick

NUMBERS = (
    "0", "-1", "1", "-0", "nan", "inf", "-inf", "1e308", "1e-308", "1e999", "1e39", "2147483647",
    "2147483648", "4294967295", "9" * 30, "9" * 5000, "0x10", "1_000", "1,5", "٣", "½", " ", "",
)  # fmt: skip
STRINGS = (
    b"\0", b'"', b"'", b"\r", b"\n", b"\r\n", b"\t", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf",
    "\u2028\u202e\x85".encode(), b"\x1b[31m", b"%s%n", b"../../../etc/passwd", b"/", b"\\", b"=1+1",
    b"A" * 200_000, b'"' + b"B" * 200_000, b"," * 3000, b"[" * 5000, b"{" * 9, b"\xf0\x9f\xab\x80",
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-8-sig", "utf-32-be", "latin-1", "cp037")


def replace_number(data: bytes, rng: np.random.Generator) -> bytes:
    """A number becomes one that is none, or too large for anything."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return data
    match = pick(found, rng)
    return data[: match.start()] + pick(NUMBERS, rng).encode() + data[match.end() :]


def insert_string(data: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(data) + 1))
    return data[:at] + pick(STRINGS, rng) + data[at:]


def change_lines(data: bytes, rng: np.random.Generator) -> bytes:
    """A line twice, gone, in another place, or joined with the next."""
    lines = data.split(b"\n")
    at, to = (int(rng.integers(len(lines))) for _ in range(2))
    kind = int(rng.integers(4))
    if kind == 0:
        lines.insert(to, lines[at])
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines.insert(to, lines.pop(at))
    else:
        lines[at : at + 2] = [b"".join(lines[at : at + 2])]
    return b"\n".join(lines)


def encode_anew(data: bytes, rng: np.random.Generator) -> bytes:
    return data.decode("utf-8", "replace").encode(pick(ENCODINGS, rng), "replace")


def line_ends(data: bytes, rng: np.random.Generator) -> bytes:
    return data.replace(b"\n", pick((b"\r\n", b"\r", b"\n\n", b"\x0b", b""), rng))


TEXT: tuple[Mutator, ...] = (
    replace_number,
    insert_string,
    insert_string,
    change_lines,
    change_lines,
    encode_anew,
    line_ends,
)
