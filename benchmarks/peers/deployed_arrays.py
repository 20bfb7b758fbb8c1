"""The arrays that cross the network in ``benchmarks.deployment``, and training that costs nothing.

They have the names and shapes of a ViT: 149 arrays and 85.8 M numbers at width 768 and depth 12.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]

#: Width and depth of a ViT-B.
BASE = (768, 12)


def shapes(width: int, depth: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape, all of one parameter group."""
    found: dict[str, tuple[int, ...]] = {
        "patch.weight": (width, 768), "patch.bias": (width,), "positions": (197, width),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for block in range(depth):
        parts = {
            "norm1": (width,), "qkv": (3 * width, width), "proj": (width, width),
            "norm2": (width,), "fc1": (4 * width, width), "fc2": (width, 4 * width),
        }  # fmt: skip
        for part, shape in parts.items():
            found[f"{block}.{part}.weight"] = shape
            found[f"{block}.{part}.bias"] = shape[:1]
    return {f"encoder.{name}": shape for name, shape in found.items()}


def start(width: int, depth: int) -> Arrays:
    """Global weights to start from."""
    rng = np.random.default_rng(0)
    return {name: rng.random(shape, np.float32) for name, shape in shapes(width, depth).items()}


def with_noise(arrays: Mapping[str, NDArray[np.floating]]) -> Arrays:
    """A site's training: noise, other at each site and in each round, so that no part repeats."""
    rng = np.random.default_rng()
    return {
        name: array.astype(np.float32, copy=False)
        + np.float32(1e-3) * rng.random(array.shape, np.float32)
        for name, array in arrays.items()
    }
