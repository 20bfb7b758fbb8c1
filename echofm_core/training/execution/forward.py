"""A forward pass in training: compiled, with less memory, or with branches of blocks dropped.

Compiled or recomputed, the result is the same. Stochastic depth draws from a named stream on the
CPU before the forward pass: the same on any device, for a batch in parts, and where a block is
computed twice.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from echofm_core.models.video_vit import Blocks


@contextmanager
def recomputed(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Within the block, transformer blocks keep few activations if that is wanted."""
    stacks = [layer for layer in model.modules() if isinstance(layer, Blocks)]
    try:
        for stack in stacks:
            stack.recompute = wanted
        yield
    finally:
        for stack in stacks:
            stack.recompute = False


class Compiled:
    """A function of tensors and tuples of them, compiled, or itself where that fails.

    Its randomness, if any, was drawn before.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.fast: Callable[..., Any] | None = torch.compile(function)

    def __call__(self, *tensors: torch.Tensor | tuple[torch.Tensor | None, ...] | None) -> Any:
        """The function's result."""
        if self.fast is None:
            return self.function(*tensors)
        try:
            return self.fast(*tensors)
        except RuntimeError as error:  # what the compiler raises; a true error comes again below
            self.fast = None
            _say(str(error).strip().partition("\n")[0])
            return self.function(*tensors)


@cache
def _say(reason: str) -> None:
    """Once for each reason in a process, not in each round."""
    warnings.warn(
        f"torch.compile cannot be used here ({reason}), so the model runs uncompiled: slower, with "
        "the same result; install a C++ compiler, or set compile = false in the plan.",
        RuntimeWarning,
        stacklevel=3,
    )


class DropPath(nn.Module):
    """One branch; it is scaled up where it stays, so that its mean is what it was.

    Attributes:
        scales: Float (B,), 0 or ``1 / (1 - rate)`` for each sample; None lets all through.
    """

    scales: Tensor | None = None

    def forward(self, branch: Tensor) -> Tensor:
        """Branch (B, ...) of a residual block."""
        if self.scales is None:
            return branch
        return branch * self.scales.to(branch.dtype).reshape(-1, *[1] * (branch.ndim - 1))


class StochasticDepth:
    """Draws which branches stay, two in each block.

    Args:
        blocks: Blocks of timm, whose ``drop_path1`` and ``drop_path2`` are taken over.
        rate: Of the last block, in (0, 1); linear from 0 in the first one.
        generator: On the CPU.

    Source: Huang 2016; rates by depth as in VideoMAE (Tong 2022).
    """

    def __init__(self, blocks: Blocks, rate: float, generator: torch.Generator) -> None:
        self.generator = generator
        self.paths: list[DropPath] = []
        for block in blocks:
            for name in ("drop_path1", "drop_path2"):
                self.paths.append(DropPath())
                setattr(block, name, self.paths[-1])
        self.kept = 1 - torch.linspace(0, rate, len(blocks)).repeat_interleave(2)

    def draw(self, samples: int) -> Tensor:
        """Scales (samples, branches)."""
        drawn = torch.rand(samples, len(self.paths), generator=self.generator)
        return (drawn < self.kept).float() / self.kept

    def use(self, scales: Tensor) -> None:
        """Take these (B, branches) in the next forward pass, and where it is computed again."""
        for path, column in zip(self.paths, scales.T, strict=True):
            path.scales = column


@contextmanager
def stochastic_depth(
    blocks: Blocks, rate: float, generator: torch.Generator
) -> Iterator[StochasticDepth | None]:
    """Within the block, branches drop at ``rate``; afterwards all is as it was. None at rate 0."""
    if not rate:
        yield None
        return
    before = [(block.drop_path1, block.drop_path2) for block in blocks]
    try:
        yield StochasticDepth(blocks, rate, generator)
    finally:
        for block, (first, second) in zip(blocks, before, strict=True):
            block.drop_path1, block.drop_path2 = first, second
