"""Arrays of a message on disk, in memory or in a mapped file: the content is read as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from server.parking import Shelf, park, swap_arrays, unpark, without_arrays

#: Name of a record -> lengths of its arrays; a record may have none, and an array no number.
CONTENTS = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 5), max_size=3))


def content_of(lengths: dict[str, list[int]]) -> RecordDict:
    records = {
        name: ArrayRecord(
            {f"x{n}": Array(np.full(size, n, np.float32)) for n, size in enumerate(sizes)}
        )
        for name, sizes in lengths.items()
    }
    return RecordDict({**records, "metrics": MetricRecord({"loss": 1.0})})


def values(content: RecordDict) -> dict[str, dict[str, list[float]]]:
    return {
        name: {key: array.numpy().tolist() for key, array in record.items()}
        for name, record in content.array_records.items()
    }


@given(CONTENTS)
def test_a_content_is_read_as_it_was_written(lengths: dict[str, list[int]]) -> None:
    """Three ways; an array record that holds nothing is there again, too."""
    content = content_of(lengths)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parked = park(content, folder / "parked")
        read = [
            Shelf(folder / "shelf").put(content)(),
            swap_arrays(content, folder / "swapped"),
            RecordDict({**without_arrays(content), **unpark(parked)}),
        ]
        for found in read:
            assert values(found) == values(content)
            assert found["metrics"] == content["metrics"]
