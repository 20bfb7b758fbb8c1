"""Folding is exact: in double precision the grey map equals the colour one on grey video."""

import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch.nn import functional

from echofm_core.models.checkpoints.fold import (
    NORMALISATIONS,
    fold_patch_embedding,
    fold_prediction,
)
from echofm_core.models.config import InputScale
from tests.models.checkpoints.made import as_ours, as_theirs, grey
from tests.models.small import PATCH, TUBELET, generator

WIDTH, SIDES = 16, (TUBELET, PATCH, PATCH)


def test_statistics_are_those_of_imagenet() -> None:
    """As timm has them."""
    assert NORMALISATIONS[InputScale.IMAGENET] == (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


@pytest.mark.parametrize("scale", list(InputScale))
def test_the_folded_map_is_their_convolution(scale: InputScale) -> None:
    """A 3D convolution of three equal channels on their scale, against one channel on ours."""
    weight = torch.randn(WIDTH, 3, *SIDES, generator=generator(1), dtype=torch.float64)
    bias = torch.randn(WIDTH, generator=generator(2), dtype=torch.float64)
    levels = grey(2).double()
    colour = as_theirs(levels) if scale is InputScale.IMAGENET else levels.expand(-1, -1, 3, -1, -1)
    wanted = functional.conv3d(colour.transpose(1, 2), weight, bias, stride=SIDES)
    folded, shifted = fold_patch_embedding(weight, bias, scale)
    one = folded.reshape(WIDTH, 1, *SIDES)
    found = functional.conv3d(as_ours(levels).transpose(1, 2), one, shifted, stride=SIDES)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


def test_one_pixel_by_hand() -> None:
    """Weights 1, 2, 3 and bias 4 on a grey level of 0.5, as it is: 0.5 * 6 + 4 = 7.

    Ours sees (0.5 - 0.1142) / 0.1882 = 2.0499..., with weight 0.1882 * 6 and bias 4 + 0.1142 * 6.
    """
    weight = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1, 1)
    folded, shifted = fold_patch_embedding(weight, torch.tensor([4.0]), InputScale.UNIT)
    assert folded.item() == pytest.approx(0.1882 * 6)
    assert shifted.item() == pytest.approx(4 + 0.1142 * 6)
    assert (folded * (0.5 - 0.1142) / 0.1882 + shifted).item() == pytest.approx(7)


def test_a_prediction_is_the_mean_of_a_pixels_three() -> None:
    """Two pixels, channels fastest: rows 1 2 3 | 5 5 8 have means 2 and 6."""
    weight = torch.tensor([[1.0], [2.0], [3.0], [5.0], [5.0], [8.0]])
    maps, bias = fold_prediction(weight, weight[:, 0] * 10, 3)
    assert maps.tolist() == [[2.0], [6.0]]
    assert bias.tolist() == [20.0, 60.0]
