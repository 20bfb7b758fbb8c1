"""What is refused before memory is asked for: the bounds, and both sides of each by hand."""

from __future__ import annotations

import pytest

from echofm_core.data.limits import believable_rate, check_pixels
from echofm_core.runtime.errors import UnreadableFileError


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 4096, 4096), 1),  # the largest frame, 2**24
        ((8, 4096, 4096), 1),  # 2**27 pixels are harmless whatever the file
        ((9, 4096, 4096), 147_456),  # 9 * 2**24 pixels / 1024 a byte
        ((64, 4096, 4096), 2**30),  # the largest clip, 2**30
    ],
)
def test_a_clip_at_the_bound_is_read(shape: tuple[int, int, int], size: int) -> None:
    check_pixels(*shape, size=size)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 4096, 4097), 2**30),
        ((9, 4096, 4096), 147_455),
        ((65, 4096, 4096), 2**40),
        ((0, 64, 64), 100),
        ((10, -64, -64), 100),
        ((2**62, 2**62, 2**62), 100),
    ],
)
def test_a_clip_beyond_it_is_refused(shape: tuple[int, int, int], size: int) -> None:
    with pytest.raises(UnreadableFileError):
        check_pixels(*shape, size=size)


@pytest.mark.parametrize(
    ("fps", "believed"),
    [(50.0, 50.0), (0.0, None), (-1.0, None), (1e-3, None), (1e6, None), (float("nan"), None)],
)
def test_a_rate_that_no_scanner_has_is_unknown(fps: float, believed: float | None) -> None:
    assert believable_rate(fps) == believed
    assert believable_rate(None) is None
