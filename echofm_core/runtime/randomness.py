"""Named random streams: the only source of randomness in library code.

A stream is decided by (seed, site, round, purpose) alone, so the draw of one site never depends
on which other sites ran before it, in which process, or on which machine.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream_key(seed: int, site: str, round_: int, purpose: str) -> int:
    """128-bit key of a stream; equal inputs give equal keys on every machine.

    The server's ``site`` is ""; ``round_`` is 0 where rounds do not apply.
    """
    text = f"{seed}\x1f{site}\x1f{round_}\x1f{purpose}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def stream(seed: int, site: str, round_: int, purpose: str) -> np.random.Generator:
    """NumPy generator of a named stream (PCG64)."""
    return np.random.Generator(np.random.PCG64(stream_key(seed, site, round_, purpose)))


def torch_stream(seed: int, site: str, round_: int, purpose: str) -> torch.Generator:
    """CPU torch generator of a named stream; draw, then move: same bits on any device."""
    import torch

    generator = torch.Generator(device="cpu")
    generator.manual_seed(stream_key(seed, site, round_, purpose) % 2**63)
    return generator
