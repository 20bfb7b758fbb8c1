from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from echofm_core.data.formats.npy import pack, unpack

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(st.sampled_from([np.float32, np.float16]), SHAPES))
def test_numpy_reads_what_we_write_and_we_what_numpy_writes(array: np.ndarray) -> None:
    """np.save and np.load are the independent implementation."""
    read = np.load(io.BytesIO(pack(array)), allow_pickle=False)
    np.testing.assert_array_equal(read, array)
    buffer = io.BytesIO()
    np.save(buffer, array)
    back = unpack(buffer.getvalue())
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_reading_makes_no_copy_and_cannot_write() -> None:
    data = pack(np.ones(1000, np.float32))
    view = unpack(data)
    assert np.shares_memory(view, np.frombuffer(data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 2


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones(3, np.int32), np.ones(3, ">f4"), np.array(["x"])]
)
def test_other_types_are_refused(array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    with pytest.raises(ValueError, match="fp32, fp16 or bf16"):
        unpack(buffer.getvalue())


def test_pickles_are_refused_unopened() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="fp32, fp16 or bf16"):
        unpack(buffer.getvalue())


@example(cut=123, tail=b"\x00\x00\x00\x00(")  # the tokenizer's own error
@example(cut=10, tail=b"(" * 118)  # the parser's
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=200))
def test_damaged_bytes_raise_one_kind_of_error(cut: int, tail: bytes) -> None:
    """Truncated or overwritten anywhere: ValueError or the very same array, never a crash."""
    whole = pack(np.arange(20, dtype=np.float32))
    damaged = whole[:cut] + tail
    try:
        view = unpack(damaged)
    except ValueError:
        return
    assert len(damaged) > view.nbytes
