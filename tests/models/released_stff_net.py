"""The fusion network of Echo-Vision-FM as its release describes it, computed by functions alone.

Written from the layers' description, not from ours: norms and encodings are formulas, convolutions
are sums over shifted grids. It takes weights by role, so that it says nothing of how they are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class Bottleneck:
    """Three convolutions (out, in, ...) and the (scale, shift) of the norm behind each."""

    kernels: Sequence[Tensor]
    norms: Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Attention:
    """V and U of (L, D), w of (L)."""

    value: Tensor
    gate: Tensor
    score: Tensor


@dataclass(frozen=True, kw_only=True)
class Weights:
    """All of the network; ``merge`` is the (D, D, rows, cols) convolution over a whole slot."""

    joint: Bottleneck
    joint_pool: Attention
    space: Bottleneck
    merge: tuple[Tensor, Tensor]
    time: Sequence[tuple[Tensor, Tensor]]
    time_pool: Attention


def fused(
    tokens: Tensor,
    code_of_slots: Tensor,
    grid: tuple[int, int, int],
    weights: Weights,
    *,
    released: bool,
) -> Tensor:
    """Tokens (B, N, D) and the code (B, slots, D) of when each slot was, to (B, 2 D).

    ``released``: re-cut with ``view`` and normalise over the batch, as the released code does; else
    move the axes and normalise each clip by itself, in groups of channels.
    """
    batch, (slots, rows, cols), width = len(tokens), grid, tokens.shape[-1]
    cells = tokens.reshape(batch, slots, rows, cols, width)

    volume = (cells + grid_code(grid, width)).permute(0, 4, 1, 2, 3)
    volume = residual(volume, weights.joint, over_batch=released)
    sequence = volume if released else volume.permute(0, 2, 3, 4, 1)
    joint = attended(sequence.reshape(batch, -1, width), weights.joint_pool)

    if released:
        planes = cells.reshape(batch * slots, width, 1, rows, cols)
    else:
        planes = cells.permute(0, 4, 1, 2, 3)
    planes = residual(planes, weights.space, over_batch=released)
    if not released:
        planes = planes.permute(0, 2, 1, 3, 4)
    planes = planes.reshape(batch, slots, width, rows, cols)
    merged = torch.einsum("btchw,dchw->btd", planes, weights.merge[0]) + weights.merge[1]
    (first, shift), (second, last) = weights.time
    timed = merged + (code_of_slots @ first.T + shift).clamp(min=0) @ second.T + last
    return torch.cat((joint, attended(timed, weights.time_pool)), dim=1)


def residual(grid: Tensor, layer: Bottleneck, *, over_batch: bool) -> Tensor:
    """conv, norm, ReLU, conv, norm, ReLU, conv, norm; plus the input; ReLU."""
    inner = grid
    for place, (kernel, (scale, shift)) in enumerate(zip(layer.kernels, layer.norms, strict=True)):
        inner = normalised(convolved(inner, kernel), over_batch=over_batch)
        inner = inner * scale.reshape(1, -1, 1, 1, 1) + shift.reshape(1, -1, 1, 1, 1)
        if place < 2:
            inner = inner.clamp(min=0)
    return (grid + inner).clamp(min=0)


def convolved(grid: Tensor, kernel: Tensor) -> Tensor:
    """Same-size convolution of (B, C, T, H, W): one product for each offset of the kernel."""
    if kernel.ndim == 4:
        kernel = kernel.unsqueeze(2)
    reach = [size // 2 for size in kernel.shape[2:]]
    padded = torch.zeros(*grid.shape[:2], *(n + 2 * r for n, r in zip(grid.shape[2:], reach)))  # noqa: B905
    inside = tuple(slice(r, r + n) for n, r in zip(grid.shape[2:], reach, strict=True))
    padded[(slice(None), slice(None), *inside)] = grid
    total = torch.zeros(len(grid), len(kernel), *grid.shape[2:])
    for offset in product(*(range(size) for size in kernel.shape[2:])):
        part = tuple(slice(o, o + n) for o, n in zip(offset, grid.shape[2:], strict=True))
        shifted = padded[(slice(None), slice(None), *part)]
        total += torch.einsum(
            "bcthw,dc->bdthw", shifted, kernel[(slice(None), slice(None), *offset)]
        )
    return total


def normalised(grid: Tensor, *, over_batch: bool) -> Tensor:
    """Each channel over all clips (BatchNorm in training), or each clip's 32 groups of channels."""
    if over_batch:
        mean = grid.mean(dim=(0, 2, 3, 4), keepdim=True)
        spread = (grid - mean).square().mean(dim=(0, 2, 3, 4), keepdim=True)
        return (grid - mean) / (spread + EPSILON).sqrt()
    groups = max(n for n in range(1, 33) if grid.shape[1] % n == 0)
    parts = grid.reshape(len(grid), groups, -1)
    mean = parts.mean(dim=2, keepdim=True)
    spread = (parts - mean).square().mean(dim=2, keepdim=True)
    return ((parts - mean) / (spread + EPSILON).sqrt()).reshape(grid.shape)


def attended(tokens: Tensor, layer: Attention) -> Tensor:
    """Sum of tokens (B, N, D) weighted by softmax(w (tanh Vx * sigmoid Ux)), without biases."""
    gated = torch.tanh(tokens @ layer.value.T) / (1 + torch.exp(-tokens @ layer.gate.T))
    share = torch.exp(gated @ layer.score)
    share = share / share.sum(dim=1, keepdim=True)
    return (share.unsqueeze(-1) * tokens).sum(dim=1)


def grid_code(grid: tuple[int, int, int], width: int) -> Tensor:
    """3D code (slots, rows, cols, D): sine, cosine of each axis in turn, a third of D an axis."""
    share = 2 * math.ceil(width / 6)
    code = torch.zeros(*grid, 3 * share)
    for place in product(*(range(size) for size in grid)):
        for axis, position in enumerate(place):
            for pair in range(share // 2):
                angle = position / 10_000 ** (2 * pair / share)
                code[(*place, axis * share + 2 * pair)] = math.sin(angle)
                code[(*place, axis * share + 2 * pair + 1)] = math.cos(angle)
    return code[..., :width]


def frame_code(frames: Tensor, width: int) -> Tensor:
    """Code (B, slots, D) of frame numbers (B, T): the mean over the two frames of a slot."""
    code = torch.zeros(*frames.shape, width)
    for channel in range(width):
        angle = frames / 10_000 ** (2 * (channel // 2) / width)
        code[..., channel] = angle.cos() if channel % 2 else angle.sin()
    return code.unflatten(1, (-1, 2)).mean(dim=2)
