"""bfloat16 by hand: a float32 is sign, 8 bits of exponent, 23 of fraction; 7 of these are kept."""

from __future__ import annotations

import numpy as np
import pytest

from echofm_core.data.formats.bfloat16 import CHUNK, as_float32, to_bfloat16


@pytest.mark.parametrize(
    ("number", "bits", "kept"),
    [
        (1.0, 0x3F80, 1.0),
        (-0.0, 0x8000, -0.0),
        (0.1, 0x3DCD, 0.10009765625),  # 0x3DCCCCCD: the rest, 0xCCCD, is more than a half
        (1 + 2**-8, 0x3F80, 1.0),  # as near to 1 as to 1 + 2**-7, and 1 is even
        (1 + 3 * 2**-8, 0x3F82, 1 + 2**-6),  # the same, and the upper one is even
        (1 + 2**-8 + 2**-23, 0x3F81, 1 + 2**-7),  # just above the middle
        (65504.0 * 4, 0x4880, 262144.0),  # beyond fp16
        (2.0**-133, 0x0001, 2.0**-133),  # the least of all
        (float(np.finfo(np.float32).max), 0x7F80, float("inf")),
        (float("-inf"), 0xFF80, float("-inf")),
    ],
)
def test_the_nearest_is_taken_of_two_the_even_one(number: float, bits: int, kept: float) -> None:
    found = to_bfloat16(np.array([number], np.float32))
    assert found.dtype == np.uint16 and found.tolist() == [bits]
    back = as_float32(found)
    assert back.dtype == np.float32 and back.tolist() == [kept]
    assert np.signbit(back[0]) == np.signbit(kept)


@pytest.mark.parametrize("words", [0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_no_nan_becomes_a_number(words: int) -> None:
    """The fraction of the first is gone with its lower half; the others would carry over."""
    assert np.isnan(as_float32(to_bfloat16(np.array([words], np.uint32).view(np.float32)))).all()


def test_shapes_stay_and_every_bfloat16_comes_back() -> None:
    every = np.arange(2**16, dtype=np.uint16).reshape(2, 2, -1)
    numbers = ~np.isnan(as_float32(every))
    assert every.size == CHUNK
    assert np.array_equal(to_bfloat16(as_float32(every))[numbers], every[numbers])
    assert to_bfloat16(np.float32(1).reshape(())).shape == ()
    longer = np.ones((CHUNK + 1, 1), np.float32)
    assert (to_bfloat16(longer) == 0x3F80).all()
    assert as_float32(longer) is longer, "floats are not copied"


def test_every_half_is_the_number_of_its_bits() -> None:
    """Beside NumPy's own conversion, for all 65,536, in any shape; NaN's bits too."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    found = as_float32(every)
    assert found.dtype == np.float32
    expected = every.astype(np.float32)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))
