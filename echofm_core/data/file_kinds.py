"""What kind of file a recording is: by its name, and where that says nothing, by its first bytes.

Archives export DICOM under names without an ending, such as ``IM000001``, or under a UID, whose
last number looks like one. Only such files are opened, for as many bytes as it takes.
"""

import os
import struct
from collections.abc import Set
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """A form of recording that can be decoded, as its ending in lower case."""

    AVI = ".avi"
    MP4 = ".mp4"
    DICOM = ".dcm"
    NIFTI = ".nii"
    NIFTI_PACKED = ".nii.gz"
    MHD = ".mhd"
    PNG = ".png"


#: What cines of a hospital come as.
CINES = frozenset({Kind.AVI, Kind.MP4, Kind.DICOM})
#: Which those are, for messages.
CINES_NAMED = ".avi, .mp4, .dcm, or DICOM without an ending"
#: The list of files on a DICOM medium (PS3.10, section 8): DICOM too, but no recording.
_INDEX = "dicomdir"
_KINDS = {kind.value: kind for kind in Kind}
#: Where a DICOM file says that it is one, after a preamble of any content (PS3.10, section 7.1).
_MAGIC, _AT = b"DICM", 128
#: Of the first element: its number and its length at most, and what represents it.
_HIGHEST, _SHORT = 0x0020, 1024
_LETTERS = frozenset({b"UL", b"OB", b"UI", b"CS", b"DA", b"TM", b"DT", b"SQ"})


def kind_of(file: str | Path) -> Kind | None:
    """Kind of a file, None where it is no recording; capitals do not matter.

    A file whose name ends in no letters after a dot is opened; one that cannot be is none.
    """
    name = os.path.basename(file).lower()  # noqa: PTH119 - half a million names pass here
    if name.endswith(Kind.NIFTI_PACKED):
        return Kind.NIFTI_PACKED
    ending = os.path.splitext(name)[1]  # noqa: PTH122
    if ending[1:] and not ending[1:].isdecimal():
        return _KINDS.get(ending)
    return Kind.DICOM if not name.startswith(_INDEX) and _is_dicom(file) else None


def _is_dicom(file: str | Path) -> bool:
    """Does a file begin as DICOM does?"""
    try:
        # A pipe would wait for somebody to write into it.
        if not os.path.isfile(file):  # noqa: PTH113
            return False
        with Path(file).open("rb", buffering=0) as stream:
            start = stream.read(_AT + len(_MAGIC))
            return start[_AT:] == _MAGIC or begins_with_element(start)
    except (OSError, ValueError):
        return False


def begins_with_element(start: bytes) -> bool:
    """Do a file's first 8 bytes hold a DICOM element, as where preamble and marker are missing?

    That is one of group 2 or 8, which come first: with a representation in letters, or with a
    length of four bytes that is a short one.
    """
    if len(start) < 8:
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    if group not in (0x0002, 0x0008) or element > _HIGHEST:
        return False
    return start[4:6] in _LETTERS or (group == 0x0008 and length <= _SHORT and length % 2 == 0)


def files_below(root: Path, kinds: Set[Kind]) -> list[str]:
    """Files of some kinds below a folder, in one listing, sorted; linked folders are not entered.

    Returns:
        Paths relative to ``root``, with forward slashes: text takes a third of a ``Path``.
    """
    found: list[str] = []
    for folder, _, names in os.walk(root):
        below = "" if (relative := os.path.relpath(folder, root)) == "." else f"{relative}/"
        # Plain text, not paths: half a million of those take seconds.
        wanted = [name for name in names if kind_of(f"{folder}{os.sep}{name}") in kinds]
        found += [f"{below}{name}".replace(os.sep, "/") for name in wanted]
    return sorted(found, key=lambda path: path.split("/"))
