"""Where the randomness of private training comes from."""

from __future__ import annotations

import math
import os
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class NoiseSource(Protocol):
    """Draws standard normal noise."""

    def normal(self, like: Tensor) -> Tensor:
        """Independent standard normal numbers, of the shape, type and device of ``like``."""
        ...


class StreamNoise:
    """Repeatable noise, for simulations: whoever knows the seed can take it away again.

    Args:
        generator: CPU generator, so that noise is the same on any device.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, like: Tensor) -> Tensor:
        """See :class:`NoiseSource`."""
        drawn = torch.randn(like.shape, generator=self.generator, dtype=torch.float32)
        return drawn.to(like.device, like.dtype)


class SystemNoise:
    """Noise from the operating system's generator: what a hospital needs.

    The Box-Muller transform in float64 of 53-bit uniform numbers.
    """

    def normal(self, like: Tensor) -> Tensor:
        """See :class:`NoiseSource`."""
        count = like.numel()
        pairs = (count + 1) // 2
        words = np.frombuffer(os.urandom(16 * pairs), dtype=np.uint64).reshape(2, pairs)
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(uniform[0]))
        angle = 2 * math.pi * uniform[1]
        both = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
        return torch.from_numpy(both[:count]).reshape(like.shape).to(like.device, like.dtype)
