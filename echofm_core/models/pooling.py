"""Attention pooling and the code of time that both forms of STF-Net share."""

import math

import torch
from torch import Tensor, nn

from echofm_core.models.masking import Subset
from echofm_core.models.patches import sinusoid

#: Shortest and longest period of the time code, in seconds: a fifth of a fast beat, ten slow ones.
SHORTEST_PERIOD, LONGEST_PERIOD = 0.1, 10.0
#: Added to a variance before the logarithm: a still feature has a finite slope.
STILLNESS = 1e-4


class GatedAttentionPool(nn.Module):
    """Weighted means over tokens; each head learns its own weights, softmax(w(tanh Vx * sigm Ux)).

    Args:
        width: Length D of a token.
        hidden: Length L of the gated features.
        heads: Weightings; with several, one can find end-diastole and another end-systole.
        bias: Whether V, U and w have biases, as the paper's have not.

    Source: Ilse 2018 (attention-based multiple-instance learning), equation 9.
    """

    def __init__(self, width: int, hidden: int, heads: int = 1, *, bias: bool = True) -> None:
        super().__init__()
        self.value = nn.Linear(width, hidden, bias=bias)
        self.gate = nn.Linear(width, hidden, bias=bias)
        self.score = nn.Linear(hidden, heads, bias=bias)

    def weights(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Weights (..., N, heads) of tokens (..., N, D); each head's sum to 1 over N.

        ``valid``, bool (..., N), is a padding mask: a token where it is False weighs nothing.
        """
        gated = self.value(tokens).tanh() * self.gate(tokens).sigmoid()
        scores: Tensor = self.score(gated)
        if valid is not None:
            scores = scores.masked_fill(~valid.unsqueeze(-1), -math.inf)
        return scores.softmax(dim=-2)

    def forward(self, tokens: Tensor, valid: Tensor | None = None) -> Tensor:
        """Pool tokens (..., N, D) to (..., heads * D)."""
        pooled = self.weights(tokens, valid).transpose(-1, -2) @ tokens
        return pooled.flatten(-2)


def mean_over_positions(tokens: Tensor, region: Subset | None) -> Tensor:
    """Tokens (B, slots, p, D) to (B, slots, D): the mean over the positions that are valid."""
    if region is None or region.valid is None:
        return tokens.mean(dim=2)
    valid = region.valid[:, None, :, None].to(tokens.dtype)
    return (tokens * valid).sum(dim=2) / valid.sum(dim=2)


def log_deviation_over_time(features: Tensor) -> Tensor:
    """Temporal standard deviation of each feature, as its logarithm.

    The deviation itself is small beside a feature, and patients differ little in it: next to pooled
    features in one layer norm it would be learnt last. Its logarithm differs as much as they do.

    Float (B, slots, ..., D) to (B, ..., D), at least half the logarithm of :data:`STILLNESS`; that
    of one slot. Within at least in float32: in bfloat16 a mean is off by as much as a feature
    moves.
    """
    exact = features.to(torch.promote_types(features.dtype, torch.float32))
    spread = exact - exact.mean(dim=1, keepdim=True)
    return (0.5 * (spread.square().mean(dim=1) + STILLNESS).log()).to(features.dtype)


class TimeCode(nn.Module):
    """Sine-cosine code, of length ``width``, of a time in seconds, then a two-layer perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, times: Tensor) -> Tensor:
        """Times (B, slots) in seconds to (B, slots, D)."""
        radians = times * (2 * math.pi / SHORTEST_PERIOD)
        code = sinusoid(radians, self.width, LONGEST_PERIOD / SHORTEST_PERIOD)
        coded: Tensor = self.mlp(code.to(next(self.mlp.parameters()).dtype))
        return coded


def in_grid(tokens: Tensor, region: Subset | None, grid: tuple[int, int, int]) -> Tensor:
    """Tokens (B, slots, p, D) in their grid: (B, slots, rows, cols, D), zero where there is none.

    They are of the region's p positions, or of all, rows first; ``grid`` is (slots, rows, cols).
    """
    _, rows, cols = grid
    whole = tokens if region is None else region.put(tokens, rows * cols, dim=2)
    return torch.unflatten(whole, 2, (rows, cols))
