"""AdamW's moments kept at a site from round to round."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from echofm_core.contract import Phase, Weights
from echofm_core.models import weights
from echofm_core.runtime.errors import CheckpointError
from echofm_core.training.steps.optimizer import trainable
from echofm_core.training.steps.round_files import RoundFiles

#: AdamW's state of one parameter.
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def moments_of(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, NDArray[np.floating]]:
    """Copy of the moments of each trainable parameter that has any, named ``parameter|moment``."""
    return {
        f"{name}|{key}": optimizer.state[parameter][key].reshape(-1).cpu().numpy()
        for name, parameter in trainable(model).items()
        if parameter in optimizer.state
        for key in MOMENTS
    }


def give_moments(model: nn.Module, optimizer: torch.optim.Optimizer, kept: Weights) -> None:
    """Give each trainable parameter the moments it had; new parameters start without.

    Raises:
        KeyError, RuntimeError: The moments are of another model.
    """
    for name, parameter in trainable(model).items():
        if f"{name}|step" in kept:
            shapes = {"step": ()} | dict.fromkeys(MOMENTS[:2], parameter.shape)
            optimizer.state[parameter] = {
                key: torch.from_numpy(kept[f"{name}|{key}"])
                .reshape(shapes[key])
                .to(parameter.device)
                for key in MOMENTS
            }


class KeptMoments:
    """Moments on the site's disk, one safetensors file a round; they never leave the site.

    The file that the current round starts from is kept beside its own.

    Args:
        folder: The site's state folder of this run.
        phase: Training phase.
        round_: Current round, from 1.
    """

    def __init__(self, folder: Path, phase: Phase, round_: int) -> None:
        self.files = RoundFiles(folder / "optimizer", phase)
        self.round = round_

    def source(self) -> Path | None:
        """The file that this round starts from, if there is one."""
        earlier = self.files.before(self.round)
        return self.files.path(earlier) if earlier else None

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Give each trainable parameter the moments it had; new parameters start without.

        Raises:
            CheckpointError: The file is damaged, or of another model.
        """
        source = self.source()
        if source is None:
            return
        try:
            give_moments(model, optimizer, weights.load(source))
        except (KeyError, RuntimeError):
            raise CheckpointError(
                f"kept optimizer moments {source} do not fit the model; remove the file to start "
                "them afresh."
            ) from None

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write this round's file whole, then forget all but it and the one before it."""
        weights.save(moments_of(model, optimizer), self.files.path(self.round), {})
        self.files.keep_only((self.round, self.files.before(self.round)))
