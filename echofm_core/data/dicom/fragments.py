"""Encapsulated pixel data (PS3.5 A.4) to one compressed image a frame.

Frames are told by how their images begin. Offset tables are not read: they may be empty, and where
a file was rewritten they are often wrong. The declared number of frames is not read either.
"""

import struct
from collections.abc import Iterator

_ITEM = 0xE000FFFE  # tag (FFFE,E000), in the order of its bytes
#: Bytes at the end of an image among which its end is looked for, before padding.
_PADDED = 16


def images(pixels: memoryview) -> list[bytes]:
    """One image a frame, which may be spread over several fragments; a cut frame is not there.

    A fragment that begins no image goes on with the one before; where that has come to its end,
    it is a frame of its own that is damaged.
    """
    frames: list[list[memoryview]] = []
    for fragment, whole in _fragments(pixels):
        begins = _begins_image(bytes(fragment[:12])) or (bool(frames) and _is_over(frames[-1]))
        if begins and whole:
            frames.append([fragment])
        elif frames and not begins:
            if not whole:
                frames.pop()
                break
            frames[-1].append(fragment)
    return [b"".join(parts) for parts in frames]


def _is_over(parts: list[memoryview]) -> bool:
    """Has an image come to its end? JPEG and its kin say so, run lengths do not."""
    begins = bytes(parts[0][:2])
    if begins not in (b"\xff\xd8", b"\xff\x4f"):
        return False
    return bytes(parts[-1][-_PADDED:]).rstrip(b"\0").endswith(b"\xff\xd9")


def stream(pixels: memoryview) -> bytes:
    """A video, which is one stream over all fragments, as far as it is there."""
    return b"".join(fragment for fragment, _ in _fragments(pixels))


def _fragments(pixels: memoryview) -> Iterator[tuple[memoryview, bool]]:
    """Fragments in order, without the offset table, and whether they are there to their end."""
    place, first = 0, True
    while place + 8 <= len(pixels):
        tag, length = struct.unpack_from("<II", pixels, place)
        place += 8
        if tag != _ITEM:
            return
        if not first:
            yield pixels[place : place + length], place + length <= len(pixels)
        place, first = place + length, False


def _begins_image(start: bytes) -> bool:
    """Does a JPEG, JPEG-LS, JPEG 2000 or run-length image begin so?"""
    if start.startswith((b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        return True
    if len(start) < 8:
        return False
    segments, offset = struct.unpack_from("<II", start)
    return bool(1 <= segments <= 15 and offset == 64)
