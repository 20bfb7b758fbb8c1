"""Some tokens of each sample, and how many samples with unlike counts share a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Subset(NamedTuple):
    """Some of N items of each sample: B rows as long as the longest, padded where one has fewer.

    Attributes:
        items: Long (B, n), which items; ascending, and behind them others as padding.
        valid: Bool (B, n), padding mask, False where padded; None where nothing is.
    """

    items: Tensor
    valid: Tensor | None = None

    @classmethod
    def of(cls, mask: Tensor) -> Subset:
        """The True items of a mask (B, N)."""
        counts = mask.sum(dim=1)
        longest = int(counts.max()) if mask.shape[0] else 0
        order = mask.byte().argsort(dim=1, descending=True, stable=True)
        valid = torch.arange(longest, device=mask.device) < counts.unsqueeze(1)
        return cls(order[:, :longest], None if bool(valid.all()) else valid)

    @classmethod
    def masked(cls, mask: Tensor) -> Subset:
        """The same items in rows of N, all others as padding; its shape depends on no value."""
        return cls(torch.arange(mask.shape[1], device=mask.device).expand(mask.shape[0], -1), mask)

    def to(self, device: torch.device) -> Subset:
        """On a device."""
        return Subset(self.items.to(device), None if self.valid is None else self.valid.to(device))

    def in_every_slot(self, slots: int, positions: int) -> Subset:
        """Of space positions (B, p), tokens (B, slots * p): token = slot * positions + position."""
        offsets = torch.arange(slots, device=self.items.device) * positions
        tokens = (self.items.unsqueeze(1) + offsets.unsqueeze(1)).flatten(1)
        return Subset(tokens, None if self.valid is None else self.valid.repeat(1, slots))

    def take(self, whole: Tensor, dim: int = 1) -> Tensor:
        """These of (B, ..., N, D), N at ``dim``: (B, ..., n, D)."""
        return whole.gather(dim, self._like(whole, dim))

    def put(self, taken: Tensor, count: int, dim: int = 1) -> Tensor:
        """Inverse of :meth:`take`: (B, ..., count, D), zero where an item is none of these."""
        if self.valid is not None:
            taken = taken.masked_fill(~self._at(self.valid, taken, dim), 0)
        shape = [*taken.shape[:dim], count, *taken.shape[dim + 1 :]]
        return taken.new_zeros(shape).scatter(dim, self._like(taken, dim), taken)

    def _like(self, other: Tensor, dim: int) -> Tensor:
        shape = [*other.shape[:dim], self.items.shape[1], *other.shape[dim + 1 :]]
        return self._at(self.items, other, dim).expand(shape)

    @staticmethod
    def _at(values: Tensor, other: Tensor, dim: int) -> Tensor:
        """Values (B, n) with axes of one, so that n stands at ``dim`` of the other."""
        before, behind = [1] * (dim - 1), [1] * (other.ndim - dim - 1)
        return values.reshape(values.shape[0], *before, values.shape[1], *behind)


def joint_padding_mask(*subsets: Subset) -> Tensor | None:
    """Padding mask (B, n + m + ...) of subsets one behind the other, False where one is padded.

    None where nothing is.
    """
    if all(one.valid is None for one in subsets):
        return None
    each = [
        torch.ones_like(one.items, dtype=torch.bool) if one.valid is None else one.valid
        for one in subsets
    ]
    return torch.cat(each, dim=1)
