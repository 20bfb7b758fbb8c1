"""The private mechanism: who takes part in a step, what noise is added, and what has to hold."""

import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.validators import ModuleValidator
from torch import Tensor, nn

from echofm_core.privacy.config import PrivacyConfig
from echofm_core.runtime.errors import PrivacyError

#: Independent standard normal numbers of the shape, type and device of a tensor.
NoiseSource = Callable[[Tensor], Tensor]


def stream_noise(generator: torch.Generator) -> NoiseSource:
    """Repeatable noise, for simulations: whoever knows the seed can take it away again.

    The generator is on the CPU, so that noise is the same on any device.
    """

    def normal(like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=generator, dtype=torch.float32)
        return drawn.to(like.device, like.dtype)

    return normal


def system_noise(like: Tensor) -> Tensor:
    """Noise from the operating system's generator: what a hospital needs.

    The Box-Muller transform in float64 of 53-bit uniform numbers.
    """
    count = like.numel()
    pairs = (count + 1) // 2
    words = np.frombuffer(os.urandom(16 * pairs), dtype=np.uint64).reshape(2, pairs)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[0]))
    angle = 2 * math.pi * uniform[1]
    both = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))
    return torch.from_numpy(both[:count]).reshape(like.shape).to(like.device, like.dtype)


Indices = NDArray[np.int64]


class PatientSampler:
    """Draws, for each step, patients independently, and one clip of each.

    A patient with many clips is no more likely to be drawn than one with a single clip, and gives
    one sample: so the clipping norm bounds what a *patient* can change. Given are rows (N,) that
    take part, and the patient of each (N,).
    """

    def __init__(self, clips: Indices, patients: Indices) -> None:
        order = np.argsort(patients, kind="stable")
        starts = np.flatnonzero(np.diff(patients[order], prepend=-1))
        self.clips_of = np.split(clips[order], starts[1:])

    def __len__(self) -> int:
        return len(self.clips_of)

    def draw(self, rate: float, steps: int, rng: np.random.Generator) -> Iterator[Indices]:
        """Rows of each step; a step may be empty.

        ``rate`` is the probability of each patient in each step; ``rng``, the source of both
        choices, is secret in a deployment.
        """
        for _ in range(steps):
            drawn = np.flatnonzero(rng.random(len(self)) < rate)
            yield np.array([rng.choice(self.clips_of[patient]) for patient in drawn], np.int64)


def check_model(model: nn.Module) -> None:
    """Refuse layers that mix samples, keep statistics of them, or have no per-sample gradient.

    Raises:
        PrivacyError: Naming the layers' kinds.
    """
    model.train()
    if errors := ModuleValidator.validate(model, strict=False):
        # A parent inherits its children's errors, so only a layer without children is asked.
        leaves = [layer for layer in model.modules() if not any(True for _ in layer.children())]
        refused = [layer for layer in leaves if ModuleValidator.validate(layer, strict=False)]
        kinds = sorted({type(layer).__name__ for layer in refused})
        raise PrivacyError(
            f"the model cannot be trained privately because of {', '.join(kinds) or errors[0]}; "
            "use LayerNorm or GroupNorm in place of layers that mix the samples of a batch."
        )


def check_delta(privacy: PrivacyConfig, patients: int) -> None:
    """Refuse a delta that would allow one patient's data to be revealed outright.

    Raises:
        PrivacyError: delta is not below 1 / patients.
    """
    if privacy.delta * patients >= 1:
        raise PrivacyError(
            f"privacy.delta = {privacy.delta:g} is not below 1 / patients = 1 / {patients}, so "
            "the promise would be empty; choose a smaller delta."
        )
