"""How a forward pass is carried out: compiled, or with less memory. The result is the same."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

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
    """A function compiled by ``torch.compile``, or the function itself where that fails.

    Args:
        function: Of tensors, and of tuples of them; its randomness, if any, was drawn before.
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
