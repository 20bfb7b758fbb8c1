"""Published tensors in our form: channels and normalisation folded, attention fused; all exact."""

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from echofm_core.data.windows import MEAN, SD
from echofm_core.models.config import InputScale
from echofm_core.runtime.errors import CheckpointError

#: Means and standard deviations of the channels: VideoMAE used ImageNet's of R, G and B;
#: Echo-Vision-FM fed [0, 1] as it is.
NORMALISATIONS: Mapping[InputScale, tuple[tuple[float, ...], tuple[float, ...]]] = {
    InputScale.IMAGENET: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    InputScale.UNIT: ((0.0,), (1.0,)),
}


def fold_patch_embedding(weight: Tensor, bias: Tensor, scale: InputScale) -> tuple[Tensor, Tensor]:
    """Patch embedding on our input that does what theirs does on its own.

    A grey level g in [0, 1] reaches their channel c as (g - m_c) / s_c and our model as
    x = (g - MEAN) / SD. With g = SD x + MEAN, their sum over channels is the linear map
    SD sum_c(W_c / s_c) of x, and a constant.

    Weight (D, channels, tubelet, patch, patch) and bias (D,) become float64
    (D, tubelet * patch * patch) and (D,).

    Raises:
        CheckpointError: The checkpoint has another number of channels than the statistics.
    """
    channels = weight.shape[1]
    means, deviations = NORMALISATIONS[scale]
    if len(means) not in (1, channels):
        raise CheckpointError(
            f"the checkpoint's patch embedding has {channels} input channels, {scale} statistics "
            f"are of {len(means)}; say how its input was normalised with --input."
        )
    mean = torch.tensor(means, dtype=torch.float64).expand(channels)
    sd = torch.tensor(deviations, dtype=torch.float64).expand(channels)
    maps = weight.double().flatten(2)
    folded = SD * torch.einsum("dcp,c->dp", maps, 1 / sd)
    shift = torch.einsum("dcp,c->d", maps, (MEAN - mean) / sd)
    return folded, bias.double() + shift


def fold_prediction(weight: Tensor, bias: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Last layer of the decoder: the mean of the channels that it predicts for each pixel.

    On grey input all channels have one target; of all single predictions their mean is nearest to
    them, and the loss falls by exactly their variance.

    Weight (pixels * channels, D), channels fastest, and bias (pixels * channels,) become float64
    (pixels, D) and (pixels,).
    """
    maps = weight.double().reshape(-1, channels, weight.shape[1]).mean(dim=1)
    return maps, bias.double().reshape(-1, channels).mean(dim=1)


_PART = re.compile(r"(.+\.attn)\.((?:q|k|v|qkv)\.(?:weight|bias))")


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
    fused: dict[str, Tensor] = {}
    blocks: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in named.items():
        if match := _PART.fullmatch(name):
            blocks[match[1]][match[2]] = tensor
        else:
            fused[name] = tensor
    for block, parts in sorted(blocks.items()):
        weight = fused[f"{block}.qkv.weight"] = _weight(block, parts)
        bias = _bias(block, parts) if biased else weight.new_zeros(len(weight))
        fused[f"{block}.qkv.bias"] = bias
    return fused


def _weight(block: str, parts: Mapping[str, Tensor]) -> Tensor:
    if "qkv.weight" in parts:
        return parts["qkv.weight"]
    names = ("q.weight", "k.weight", "v.weight")
    if missing := [name for name in names if name not in parts]:
        raise CheckpointError(f"the checkpoint lacks {', '.join(missing)} of {block}.")
    return torch.cat([parts[name] for name in names])


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
