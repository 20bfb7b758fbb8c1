"""Where tensors live and in which precision they are multiplied."""

from __future__ import annotations

import torch

from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.training.config import Precision


def find_device(name: str) -> torch.device:
    """Device of a name; ``auto`` takes a GPU if there is one.

    Raises:
        EnvironmentClashError: The name is no device, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise EnvironmentClashError(
            f"device {name!r} cannot be used here ({reason}); use auto, cpu, cuda or cuda:N."
        ) from None
    return device


def autocast(device: torch.device, precision: Precision = Precision.AUTO) -> torch.autocast:
    """Context of a forward pass; ``auto`` is float32 where bits are stable, on the CPU."""
    automatic = precision is Precision.AUTO and device.type == "cuda"
    enabled = automatic or precision is Precision.BF16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
