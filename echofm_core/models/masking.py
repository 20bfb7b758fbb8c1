"""Which patches are hidden from the encoder, and which of those the decoder predicts."""

from __future__ import annotations

import torch
from torch import Tensor


def tube_mask(batch: int, positions: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Draw a tube mask for each sample: the same positions are hidden in every time slot.

    Args:
        batch: Samples B; each gets its own mask.
        positions: Space positions P of one time slot (rows x columns).
        ratio: Share of positions to hide, in [0, 1); the count is exactly ``floor(ratio * P)``.
        generator: Source of randomness, on the CPU so that any device sees the same masks.

    Returns:
        Bool (B, P), True = hidden.

    Source: VideoMAE (Tong 2022), section 3.3; the released Echo-Vision-FM code draws the inverse.
    """
    order = torch.rand(batch, positions, generator=generator).argsort(dim=1)
    mask = torch.zeros(batch, positions, dtype=torch.bool)
    return mask.scatter_(1, order[:, : hidden_count(positions, ratio)], True)


def hidden_count(positions: int, ratio: float) -> int:
    """Positions hidden of ``positions``: ``floor(ratio * positions)``.

    The product is rounded at 1e-9 first, so that 0.7 of 10 is 7 and not 6 (0.7 * 10 < 7 in binary).
    """
    return int(round(ratio * positions, 9))


def tube_tokens(mask: Tensor, count: int, slots: int) -> Tensor:
    """Token indices of the True positions of a mask, repeated in every time slot.

    Args:
        mask: Bool (B, P) with exactly ``count`` True in each row.
        count: That number.
        slots: Time slots; token = slot * P + position.

    Returns:
        Long (B, slots * count), ascending.
    """
    batch, positions = mask.shape
    tube = mask.nonzero()[:, 1].reshape(batch, 1, count)
    offsets = torch.arange(slots, device=mask.device).reshape(1, slots, 1) * positions
    return (tube + offsets).reshape(batch, slots * count)


def decoded_tokens(
    hidden: Tensor, counted: Tensor, fraction: float, generator: torch.Generator
) -> Tensor:
    """Choose at random which hidden tokens the decoder predicts (dual masking).

    Tokens that count in the loss come first: a prediction outside the ultrasound sector would cost
    as much and teach nothing.

    Args:
        hidden: Long (B, N) indices of the hidden tokens.
        counted: Bool (B, N), True where that token counts in the loss.
        fraction: Share of the N to decode, in (0, 1]; at least one token is.
        generator: Source of randomness, on the CPU.

    Returns:
        Long (B, max(1, floor(fraction * N))), ascending.

    Source: VideoMAE v2 (Wang 2023), section 3.2, with a random instead of a running-cell choice.
    """
    batch, tokens = hidden.shape
    count = max(1, hidden_count(tokens, fraction))
    if count == tokens:
        return hidden
    priority = torch.rand(batch, tokens, generator=generator).to(hidden.device)
    chosen = (priority + counted.logical_not()).argsort(dim=1)[:, :count]
    return hidden.gather(1, chosen.sort(dim=1).values)


def touches_sector(sector: Tensor, patch: int) -> Tensor:
    """Patches with at least one pixel inside the ultrasound sector.

    Args:
        sector: Bool (B, H, W).
        patch: Side of a square patch, in pixels.

    Returns:
        Bool (B, P), rows before columns.
    """
    batch, height, width = sector.shape
    tiles = sector.reshape(batch, height // patch, patch, width // patch, patch)
    return tiles.any(dim=4).any(dim=2).flatten(1)
