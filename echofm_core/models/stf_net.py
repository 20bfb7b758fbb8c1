"""The fusion network between encoder and heads, in the form a plan names."""

from __future__ import annotations

from torch import Tensor, nn

from echofm_core.models.bag import BagPool
from echofm_core.models.config import StfNetForm
from echofm_core.models.pooling import mean_over_places
from echofm_core.models.stf_compact import CompactStfNet
from echofm_core.models.stf_published import PublishedStfNet
from echofm_core.models.subset import Subset


class MeanPool(nn.Module):
    """No fusion at all: the mean over tokens, the arm an ablation compares with.

    Args:
        width: Length D of an encoder token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    def forward(self, tokens: Tensor, times: Tensor, region: Subset | None = None) -> Tensor:
        """Tokens (B, slots, p, D) to (B, D); times are not read."""
        return mean_over_places(tokens, region).mean(dim=1)


def build_stf_net(
    form: StfNetForm, grid: tuple[int, int, int], width: int, levels: int
) -> CompactStfNet | PublishedStfNet | MeanPool | BagPool:
    """Fusion network; call it with tokens (B, slots, p, D), times (B, slots) in seconds, a region.

    The region says which p space positions the tokens have; None is all of them, rows first.

    Args:
        form: Which one.
        grid: (slots, rows, cols) of the encoder.
        width: Length D of an encoder token.
        levels: Stages of the encoder: its patches, and its blocks.
    """
    match form:
        case StfNetForm.COMPACT:
            return CompactStfNet(grid, width, levels)
        case StfNetForm.PUBLISHED:
            return PublishedStfNet(grid, width)
        case StfNetForm.MEAN_POOL:
            return MeanPool(width)
        case StfNetForm.BAG:
            return BagPool(width)
