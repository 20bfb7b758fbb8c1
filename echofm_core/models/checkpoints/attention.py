"""Queries, keys and values of a block as one map, with biases that are truly there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from echofm_core.runtime.errors import CheckpointError

_PART = re.compile(r"(.+\.attn)\.(q|k|v|qkv)\.(weight|bias)")


def fuse_attention(named: Mapping[str, Tensor], *, biased: bool = True) -> dict[str, Tensor]:
    """Put q, k and v of each block together, as ``attn.qkv``.

    VideoMAE learns biases of queries and values and has none of keys (which softmax would not
    see): the fused bias is (q, 0, v). Published files name them apart from the maps, and more than
    one conversion lost them without a word; such a file is refused.

    Args:
        named: Our name -> tensor, as :func:`recognise` gives them.
        biased: The checkpoint's configuration does not say that there are none.

    Returns:
        All tensors, with ``attn.qkv.weight`` (3 D, D) and ``attn.qkv.bias`` (3 D).

    Raises:
        CheckpointError: A part is missing, or biases are missing or exactly zero.
    """
    fused = {name: tensor for name, tensor in named.items() if not _PART.fullmatch(name)}
    blocks = {match[1] for name in named if (match := _PART.fullmatch(name))}
    for block in sorted(blocks):
        parts = {
            name.removeprefix(f"{block}."): tensor
            for name, tensor in named.items()
            if name.startswith(f"{block}.") and _PART.fullmatch(name)
        }
        weight = _weight(block, parts)
        fused[f"{block}.qkv.weight"] = weight
        fused[f"{block}.qkv.bias"] = (
            _bias(block, parts) if biased else weight.new_zeros(len(weight))
        )
    return fused


def _weight(block: str, parts: Mapping[str, Tensor]) -> Tensor:
    if "qkv.weight" in parts:
        return parts["qkv.weight"]
    missing = [name for name in ("q.weight", "k.weight", "v.weight") if name not in parts]
    if missing:
        raise CheckpointError(f"the checkpoint lacks {', '.join(missing)} of {block}.")
    return torch.cat([parts["q.weight"], parts["k.weight"], parts["v.weight"]])


def _bias(block: str, parts: Mapping[str, Tensor]) -> Tensor:
    """The fused bias; refused where nothing was learned in it."""
    if "qkv.bias" in parts:
        bias = parts["qkv.bias"]
    elif "q.bias" in parts and "v.bias" in parts:
        none = torch.zeros_like(parts["q.bias"])
        bias = torch.cat([parts["q.bias"], parts.get("k.bias", none), parts["v.bias"]])
    else:
        raise CheckpointError(
            f"the checkpoint has no biases of queries and values in {block}: VideoMAE has them, so "
            "a conversion dropped them; take the published file itself."
        )
    query, _, value = bias.chunk(3)
    if not query.any() or not value.any():
        raise CheckpointError(
            f"the biases of queries or values in {block} are exactly zero, as no training leaves "
            "them: a conversion lost them (early transformers 5 did when it saved a published "
            "model again); take the published file itself."
        )
    return bias
