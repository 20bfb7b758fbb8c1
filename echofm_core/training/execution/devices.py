"""Devices: which words there are, which of them this machine has, and the precision on them.

PyTorch is loaded by the functions that ask it: a command refuses a wrong word at once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echofm_core.runtime.errors import EnvironmentClashError, PlanError
from echofm_core.runtime.text import did_you_mean
from echofm_core.training.config import Precision

if TYPE_CHECKING:
    import torch

#: Kinds of device that training may be asked for.
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")


def check_device_word(name: str) -> None:
    """Refuse a name that is no device anywhere.

    Raises:
        PlanError: There is no such kind of device.
    """
    kind = name.partition(":")[0]
    if kind not in DEVICES or not re.fullmatch(r"[a-z]+(:\d+)?", name):
        raise PlanError(
            f"there is no device {name!r}{did_you_mean(kind, DEVICES)}; use auto, cpu, cuda or "
            "cuda:N."
        )


def find_device(name: str) -> torch.device:
    """Device of a name; ``auto`` takes a GPU if there is one.

    Raises:
        EnvironmentClashError: The name is no device, or this machine has no such device.
    """
    import torch

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


def find_devices(name: str, devices: int) -> str:
    """``cpu`` or ``cuda``, of which there are so many.

    Raises:
        EnvironmentClashError: The name is of one device, or there are fewer GPUs.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = ("cuda" if gpus else "cpu") if name == "auto" else name
    if kind not in ("cpu", "cuda"):
        raise EnvironmentClashError(
            f"device {name!r} is one device, but devices = {devices} asks for several; use auto, "
            "cpu or cuda."
        )
    if kind == "cuda" and gpus < devices:
        raise EnvironmentClashError(
            f"devices = {devices} asks for {devices} GPUs, but this machine has {gpus}; lower "
            'devices, or train on processors with device = "cpu".'
        )
    return kind


def autocast(device: torch.device, precision: Precision = Precision.AUTO) -> torch.autocast:
    """Context of a forward pass; ``auto`` is float32 where bits are stable, on the CPU."""
    import torch

    automatic = precision is Precision.AUTO and device.type == "cuda"
    enabled = automatic or precision is Precision.BF16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
