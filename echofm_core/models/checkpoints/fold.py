"""Three colour channels into our one grey, and their normalisation into ours: exact algebra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from echofm_core.data.windows import MEAN, SD
from echofm_core.models.checkpoints.wish import InputScale
from echofm_core.runtime.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation of each channel."""

    mean: tuple[float, ...]
    sd: tuple[float, ...]


#: VideoMAE used ImageNet's statistics of R, G and B; Echo-Vision-FM fed [0, 1] as it is.
NORMALISATIONS: Mapping[InputScale, Normalisation] = MappingProxyType(
    {
        InputScale.IMAGENET: Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        InputScale.UNIT: Normalisation((0.0,), (1.0,)),
    }
)


def fold_patch_embedding(weight: Tensor, bias: Tensor, scale: InputScale) -> tuple[Tensor, Tensor]:
    """Patch embedding on our input that does what theirs does on its own.

    A grey level g in [0, 1] reaches their channel c as (g - m_c) / s_c and our model as
    x = (g - MEAN) / SD. With g = SD x + MEAN, their sum over channels is the linear map
    SD sum_c(W_c / s_c) of x, and a constant.

    Args:
        weight: Float (D, channels, tubelet, patch, patch).
        bias: Float (D,).
        scale: How their input was normalised.

    Returns:
        Float64 (D, tubelet * patch * patch) and (D,).

    Raises:
        CheckpointError: The checkpoint has another number of channels than the statistics.
    """
    channels = weight.shape[1]
    theirs = NORMALISATIONS[scale]
    if len(theirs.mean) not in (1, channels):
        raise CheckpointError(
            f"the checkpoint's patch embedding has {channels} input channels, {scale} statistics "
            f"are of {len(theirs.mean)}; say how its input was normalised with --input."
        )
    mean = torch.tensor(theirs.mean, dtype=torch.float64).expand(channels)
    sd = torch.tensor(theirs.sd, dtype=torch.float64).expand(channels)
    maps = weight.double().flatten(2)
    folded = SD * torch.einsum("dcp,c->dp", maps, 1 / sd)
    shift = torch.einsum("dcp,c->d", maps, (MEAN - mean) / sd)
    return folded, bias.double() + shift


def fold_prediction(weight: Tensor, bias: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Last layer of the decoder: the mean of the channels that it predicts for each pixel.

    On grey input all channels have one target; of all single predictions their mean is nearest to
    them, and the loss falls by exactly their variance.

    Args:
        weight: Float (pixels * channels, D), channels fastest.
        bias: Float (pixels * channels,).
        channels: Of their input.

    Returns:
        Float64 (pixels, D) and (pixels,).
    """
    maps = weight.double().reshape(-1, channels, weight.shape[1]).mean(dim=1)
    return maps, bias.double().reshape(-1, channels).mean(dim=1)
