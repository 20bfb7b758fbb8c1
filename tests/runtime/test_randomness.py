"""Streams: the same name gives the same bits, another name gives others."""

import numpy as np
import torch

from echofm_core.runtime.randomness import stream, stream_key, torch_stream


def test_key_is_the_leading_half_of_a_sha256() -> None:
    """Independent value: `printf '7\\x1fA\\x1f2\\x1fmask' | sha256sum | cut -c1-32`."""
    import subprocess

    shell = "printf '7\\037A\\0372\\037mask' | sha256sum | cut -c1-32"
    expected = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert f"{stream_key(7, 'A', 2, 'mask'):032x}" == expected.stdout.strip()


def test_each_part_of_the_name_matters() -> None:
    names = [
        (0, "A", 1, "x"),
        (1, "A", 1, "x"),
        (0, "B", 1, "x"),
        (0, "A", 2, "x"),
        (0, "A", 1, "y"),
    ]
    draws = {tuple(stream(*name).integers(0, 2**62, 4)) for name in names}
    assert len(draws) == len(names)
    assert np.array_equal(stream(*names[0]).random(8), stream(*names[0]).random(8))


def test_torch_streams_do_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    first = torch.rand(3, generator=torch_stream(0, "A", 1, "mask"))
    assert torch.equal(first, torch.rand(3, generator=torch_stream(0, "A", 1, "mask")))
    assert torch.equal(before, torch.get_rng_state())
