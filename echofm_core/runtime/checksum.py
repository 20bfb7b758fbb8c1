"""Fingerprints of weights: a fast one for transport, a cryptographic one for the record."""

import hashlib

import numpy as np

from echofm_core.contract import Weights


def checksum(weights: Weights) -> int:
    """63-bit sum over the raw words of all arrays, in name order; at memory speed.

    Guards against truncation and mix-ups between honest parties, not against an attacker:
    TLS and Flower's SHA-256 object ids do that.
    """
    total = 0
    for position, name in enumerate(sorted(weights), start=1):
        raw = np.ascontiguousarray(weights[name]).reshape(-1).view(np.uint8)
        words = raw[: raw.size // 8 * 8].view(np.uint64)
        tail = int.from_bytes(raw[words.size * 8 :].tobytes(), "little")
        total += position * (int(np.add.reduce(words, dtype=np.uint64)) + tail + raw.size)
    return total % 2**63


def digest(weights: Weights) -> str:
    """SHA-256 over names, shapes, types and bytes in name order, in hex.

    Two models with the same digest are bitwise the same. Printed each round and kept in the
    journal, the checkpoints and the model card.
    """
    state = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        state.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        state.update(array.reshape(-1).view(np.uint8).data)
    return state.hexdigest()
