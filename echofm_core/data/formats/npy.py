"""Arrays as the bytes that ``np.save`` writes, and back without a copy.

This is how Flower stores arrays in messages. A message of weights is big, so it is written with
one copy and read with none.
"""

import io
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: Only these element types ever travel: fp32, fp16, and the bits of bf16 (``bfloat16.py``).
LEGAL_TYPES = (np.dtype("<f4"), np.dtype("<f2"), np.dtype("<u2"))
#: Bytes before the text of a header: magic, version and the text's length.
PREAMBLE = 10
#: Longest header that is read, in bytes; numpy writes 128.
LONGEST_HEADER = 4096


def pack(array: NDArray[np.floating]) -> bytes:
    """The ``.npy`` bytes of an array, made with a single copy."""
    array = np.asarray(array, order="C")
    return _header(array.shape, array.dtype) + array.reshape(-1).view(np.uint8).data


def unpack(data: bytes | memoryview) -> NDArray[np.floating]:
    """A read-only view of the array in ``.npy`` bytes.

    Raises:
        ValueError: The bytes are not a whole little-endian fp32, fp16 or bf16 array in C order.
    """
    begin = PREAMBLE + int.from_bytes(data[PREAMBLE - 2 : PREAMBLE], "little")
    if begin > LONGEST_HEADER:
        raise ValueError(f"header of {begin} bytes, expected at most {LONGEST_HEADER}")
    shape, dtype = _read_header(bytes(data[:begin]))
    count = math.prod(shape)
    if len(data) != begin + count * dtype.itemsize:
        raise ValueError(
            f"array of shape {shape} takes {begin + count * dtype.itemsize} bytes, "
            f"found {len(data)}"
        )
    view: NDArray[np.floating] = np.frombuffer(data, dtype, count, begin).reshape(shape)
    view.flags.writeable = False
    return view


@lru_cache(maxsize=4096)
def _header(shape: tuple[int, ...], dtype: np.dtype[np.floating]) -> bytes:
    """What stands before the values; arrays of one shape and type have the same."""
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    layout = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, layout)
    return header.getvalue()


@lru_cache(maxsize=4096)
def _read_header(header: bytes) -> tuple[tuple[int, ...], np.dtype[np.floating]]:
    """Shape and type; a model's headers are the same in every round, so they are read once."""
    head = io.BytesIO(header)
    try:
        if np.lib.format.read_magic(head) != (1, 0):
            raise ValueError("not version 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
    except Exception as error:
        # numpy hands the text to Python's parser and tokenizer, each with errors of its own.
        raise ValueError(f"bytes are not an .npy array ({type(error).__name__})") from None
    if dtype not in LEGAL_TYPES or (fortran and len(shape) > 1):
        raise ValueError(f"array has type {dtype.str}, expected little-endian fp32, fp16 or bf16")
    if any(side < 0 for side in shape):
        raise ValueError(f"array has shape {shape}")
    return shape, dtype
