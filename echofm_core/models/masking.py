"""Which positions are seen at all, which of them are hidden, and which of those are predicted."""

from __future__ import annotations

import math
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


class Masks(NamedTuple):
    """What is drawn of each sample, on the CPU.

    Attributes:
        visible: Bool (B, positions), what the encoder sees in every time slot.
        wanted: Bool (B, tokens), what the decoder predicts.
        whole: Bool (B, positions), what a teacher sees in every time slot; None without a teacher.
    """

    visible: Tensor
    wanted: Tensor
    slots: int
    whole: Tensor | None = None

    def rows(self, samples: slice) -> Masks:
        """Those of some samples."""
        whole = None if self.whole is None else self.whole[samples]
        return Masks(self.visible[samples], self.wanted[samples], self.slots, whole)

    def tokens(self, device: torch.device) -> tuple[Subset, ...]:
        """Tokens to see, to predict and, with a teacher, for the teacher to see, on a device."""
        found = self._in_every_slot(self.visible), Subset.of(self.wanted)
        teacher = () if self.whole is None else (self._in_every_slot(self.whole),)
        return tuple(subset.to(device) for subset in (*found, *teacher))

    def _in_every_slot(self, mask: Tensor) -> Subset:
        return Subset.of(mask).in_every_slot(self.slots, mask.shape[1])


def tube_mask(seen: Tensor, ratio: float, generator: torch.Generator) -> Tensor:
    """Draw a tube mask for each sample: the same positions are hidden in every time slot.

    Args:
        seen: Bool (B, P), space positions (rows x columns) that hold something to see.
        ratio: Share of a sample's own positions to hide, in [0, 1); of n, :func:`hidden_count`.
        generator: Source of randomness, on the CPU so that any device sees the same masks.

    Returns:
        Bool (B, P), True = hidden; what is drawn of one sample depends on no other.

    Source: VideoMAE (Tong 2022), section 3.3; the released Echo-Vision-FM code draws the inverse.
    """
    counts = [hidden_count(count, ratio) for count in seen.sum(dim=1).tolist()]
    return _drawn(seen, counts, generator)


def decoded_mask(hidden: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """Choose at random which hidden tokens the decoder predicts (dual masking).

    Of bool (B, N), True = hidden, this share of each sample's in (0, 1], at least one token; bool
    (B, N), True = to decode. The generator is on the CPU.

    Source: VideoMAE v2 (Wang 2023), section 3.2, with a random instead of a running-cell choice.
    """
    if fraction == 1:
        return hidden
    totals = hidden.sum(dim=1).tolist()
    return _drawn(hidden, [max(1, hidden_count(total, fraction)) for total in totals], generator)


def hidden_count(positions: int, ratio: float) -> int:
    """Positions hidden of ``positions``: ``floor(ratio * positions)``.

    The product is rounded at 1e-9 first, so that 0.7 of 10 is 7 and not 6 (0.7 * 10 < 7 in binary).
    """
    return int(round(ratio * positions, 9))


def positions_seen(sector: Tensor, patch: int) -> Tensor:
    """Space positions with at least one pixel inside the ultrasound sector, bool (B, H, W).

    Bool (B, P), rows before columns; all of a sample whose sector is empty, so that none is without
    a token. A square patch has ``patch`` pixels a side.
    """
    batch, height, width = sector.shape
    tiles = sector.reshape(batch, height // patch, patch, width // patch, patch)
    touched = tiles.any(dim=4).any(dim=2).flatten(1)
    return touched | touched.any(dim=1, keepdim=True).logical_not()


def _drawn(among: Tensor, counts: list[int], generator: torch.Generator) -> Tensor:
    """Bool (B, N): so many of each row's True entries, at random."""
    priority = torch.rand(among.shape, generator=generator).masked_fill(~among, math.inf)
    order = priority.argsort(dim=1)
    first = torch.arange(among.shape[1]) < torch.tensor(counts).reshape(-1, 1)
    return torch.zeros_like(among).scatter_(1, order, first) & among
