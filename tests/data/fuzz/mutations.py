"""Changes to bytes that any format can suffer, drawn from a stream: equal draws, equal files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Mutator = Callable[[bytes, np.random.Generator], bytes]

#: Integers at which a size, a count or a sign goes wrong.
BOUNDARIES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
#: No chunk of a generic change is longer.
CHUNK = 4096


def mutate(
    data: bytes,
    other: bytes,
    mutators: Sequence[Mutator],
    rng: np.random.Generator,
    own: float = 0.5,
) -> bytes:
    """One to four changes.

    Args:
        data: The file.
        other: Another file of the format, to splice with.
        mutators: The format's own changes.
        rng: Decides everything.
        own: Share of the format's own among the changes.
    """
    for _ in range(int(rng.integers(1, 5))):
        if mutators and rng.random() < own:
            data = pick(mutators, rng)(data, rng)
        elif rng.random() < 1 / (len(GENERIC) + 1):
            data = splice(data, other, rng)
        else:
            data = pick(GENERIC, rng)(data, rng)
    return data


def pick(items: Sequence[T], rng: np.random.Generator) -> T:
    return items[int(rng.integers(len(items)))]


def poke(data: bytes, at: int, value: bytes) -> bytes:
    """``value`` written over what is at ``at``; a place that is not there changes nothing."""
    return data[:at] + value + data[at + len(value) :] if 0 <= at < len(data) else data


def boundary(data: bytes, size: int, rng: np.random.Generator, order: str | None = None) -> bytes:
    """A boundary value, or one about the file's length, as an integer field of ``size`` bytes."""
    choices = (*BOUNDARIES, len(data), len(data) - 8, len(data) + 1)
    value = pick(choices, rng) % 256**size
    return value.to_bytes(size, "little" if (order or pick("<>", rng)) == "<" else "big")


def fields_of(names: str, *, order: str, size_at: int, longest: int) -> Mutator:
    """A change that knows a format's chunks: sizes and fields to boundaries, chunks gone or twice.

    Args:
        names: Regular expression of the marks by which chunks are found.
        order: ``<`` or ``>``.
        size_at: Where the 4-byte size lies, counted from the mark.
        longest: Bytes behind the mark in which fields are looked for.
    """
    pattern = re.compile(names.encode("latin-1"))

    def change(data: bytes, rng: np.random.Generator) -> bytes:
        found = [match.start() for match in pattern.finditer(data)]
        if not found:
            return data
        at = pick(found, rng)
        kind = int(rng.integers(6))
        if kind == 0:
            return poke(data, at + size_at, boundary(data, 4, rng, order))
        if kind <= 3:
            size = pick((2, 4, 4), rng)
            place = at + 4 + 2 * int(rng.integers(longest // 2))
            return poke(data, place, boundary(data, size, rng, order))
        end = at + max(8, int.from_bytes(data[at + size_at : at + size_at + 4], _name(order)))
        chunk = data[at:end] if kind == 4 else b""
        return data[:at] + chunk + data[at if kind == 4 else end :]

    return change


def bits_behind(names: str, longest: int) -> Mutator:
    """A change of one to three bits within ``longest`` bytes behind one of the marks."""
    pattern = re.compile(names.encode("latin-1"))

    def change(data: bytes, rng: np.random.Generator) -> bytes:
        if not (found := [match.end() for match in pattern.finditer(data)]):
            return data
        start = pick(found, rng)
        for _ in range(int(rng.integers(1, 4))):
            at = start + int(rng.integers(longest))
            if at < len(data):
                data = poke(data, at, bytes([data[at] ^ 1 << int(rng.integers(8))]))
        return data

    return change


def splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The head of one file and the tail of another."""
    return data[: int(rng.integers(len(data) + 1))] + other[int(rng.integers(len(other) + 1)) :]


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    for _ in range(int(rng.integers(1, 9))):
        at = _place(data, rng)
        data = poke(data, at, bytes([data[at] ^ 1 << int(rng.integers(8))]) if data else b"")
    return data


def set_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    value = pick((0, 255, len(data) & 255), rng)
    return poke(data, _place(data, rng), bytes([value]) * int(rng.integers(1, 9)))


def set_integer(data: bytes, rng: np.random.Generator) -> bytes:
    return poke(data, _place(data, rng), boundary(data, pick((2, 4), rng), rng))


def delete(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def duplicate(data: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(data, rng)
    return data[:stop] + data[start:]


def swap(data: bytes, rng: np.random.Generator) -> bytes:
    """Two chunks change places."""
    a, b, c, d = sorted(_place(data, rng) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    at, size = _place(data, rng), int(rng.integers(1, CHUNK))
    noise = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
    return data[:at] + pick((noise, bytes(size), b"\xff" * size, b"A" * size), rng) + data[at:]


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


GENERIC: tuple[Mutator, ...] = (
    flip_bits,
    flip_bits,
    set_bytes,
    set_bytes,
    set_integer,
    set_integer,
    delete,
    duplicate,
    swap,
    insert,
    truncate,
)


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Anywhere, but as often in the first 512 bytes, where headers are."""
    return int(rng.integers(max(1, min(len(data), pick((512, len(data)), rng)))))


def _span(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = _place(data, rng)
    return start, start + int(rng.integers(1, pick((5, 65, CHUNK), rng)))


def _name(order: str) -> str:
    return "little" if order == "<" else "big"
