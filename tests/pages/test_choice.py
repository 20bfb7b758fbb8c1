"""What is shown where not all can be shown, by hand."""

import pytest

from echofm_core.pages.choice import deal, evenly


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(9, 3, [0, 4, 8]), (3, 10, [0, 1, 2]), (5, 1, [0]), (5, 0, []), (0, 4, [])],
)
def test_evenly(count: int, wanted: int, expected: list[int]) -> None:
    assert evenly(count, wanted) == expected


@pytest.mark.parametrize(
    ("sizes", "wanted", "expected"),
    [
        ([5, 1, 3], 6, [3, 1, 2]),  # turns: 1 1 1, then 1 0 1, then 1
        ([5, 1, 3], 9, [5, 1, 3]),
        ([0, 2], 10, [0, 2]),
        ([4, 4], 1, [1, 0]),
        ([4], 0, [0]),
        ([], 3, []),
        ([10**9, 10**9], 4, [2, 2]),  # no longer than what is wanted
    ],
)
def test_deal(sizes: list[int], wanted: int, expected: list[int]) -> None:
    assert deal(sizes, wanted) == expected
