"""Fingerprints of weights notice what they should."""

import hashlib

import numpy as np

from echofm_core.runtime.checksum import checksum, digest


def test_digest_by_hand() -> None:
    """The SHA-256 of the text that the docstring describes, built here from bytes."""
    array = np.array([1.5, -2.0], dtype=np.float32)
    expected = hashlib.sha256(b"a|<f4|(2,)|" + array.tobytes()).hexdigest()
    assert digest({"a": array}) == expected


def test_checksum_by_hand() -> None:
    """Two float32 ones are the word 0x3f8000003f800000; plus their 8 bytes of length, times 1."""
    assert checksum({"a": np.ones(2, np.float32)}) == (0x3F8000003F800000 + 8) % 2**63


def test_both_notice_a_flipped_bit_a_swap_and_a_cut() -> None:
    rng = np.random.default_rng(0)
    weights = {"a": rng.random(101, dtype=np.float32), "b": rng.random(101, dtype=np.float32)}
    flipped = {**weights, "a": weights["a"].copy()}
    flipped["a"][100] += 1e-6
    swapped = {"a": weights["b"], "b": weights["a"]}
    cut = {**weights, "b": weights["b"][:100]}
    for changed in (flipped, swapped, cut):
        assert checksum(changed) != checksum(weights)
        assert digest(changed) != digest(weights)


def test_order_of_insertion_does_not_matter() -> None:
    weights = {"a": np.ones(3, np.float32), "b": np.zeros(2, np.float16)}
    turned = dict(reversed(weights.items()))
    assert (checksum(weights), digest(weights)) == (checksum(turned), digest(turned))
