"""What a site keeps on its own disk: a file a round, and a round that is not finished."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from echofm_core.contract import Weights
from echofm_core.runtime import array_files
from echofm_core.runtime.checksum import checksum
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.files import remove
from echofm_core.training.steps.optimizer import trainable


class RoundFiles:
    """Safetensors files by round number.

    A round starts from the file of an *earlier* round, so that a round that is done again after a
    crash starts as it did the first time.

    Names begin with ``stem``, e.g. a phase: ``finetune-00002.safetensors``. Files of rounds before
    ``first`` are another model's, and none starts from them.
    """

    def __init__(self, folder: Path, stem: str, first: int = 1) -> None:
        self.folder, self.stem, self.first = folder, stem, first

    def path(self, number: int) -> Path:
        """The file of a round, whether it is there or not."""
        return self.folder / f"{self.stem}-{number:05d}.safetensors"

    def before(self, number: int) -> int:
        """The newest round before this one that has a file; 0: none."""
        earlier = (found for found in self._numbers() if self.first <= found < number)
        return max(earlier, default=0)

    def keep_only(self, numbers: Collection[int]) -> None:
        """Remove the files of all other rounds, and what a kill in the middle of writing left."""
        for number in self._numbers() - set(numbers):
            self.path(number).unlink(missing_ok=True)
        for torn in self.folder.glob(f".{self.stem}-*"):
            remove(torn)

    def _numbers(self) -> set[int]:
        paths = self.folder.glob(f"{self.stem}-*.safetensors")
        return {int(path.stem.rpartition("-")[2]) for path in paths}


#: AdamW's state of one parameter.
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def moments_of(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, NDArray[np.floating]]:
    """Moments (n,) of each trainable parameter that has any, named ``parameter|moment``."""
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
            given = {key: torch.from_numpy(kept[f"{name}|{key}"]) for key in MOMENTS}
            optimizer.state[parameter] = {
                key: item.reshape(() if key == "step" else parameter.shape).to(parameter.device)
                for key, item in given.items()
            }


class KeptMoments:
    """Moments on the site's disk, one safetensors file a round; they never leave the site.

    The files that the current round, from 1, and the one before it start from are kept beside its
    own; ``first`` is as of :class:`RoundFiles`.
    """

    def __init__(self, state: Path, name: str, round_: int, first: int = 1) -> None:
        self.files = RoundFiles(state / "optimizer", name, first)
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
            give_moments(model, optimizer, array_files.load(source))
        except (KeyError, RuntimeError):
            raise CheckpointError(
                f"kept optimizer moments {source} do not fit the model; remove the file to start "
                "them afresh."
            ) from None

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Write this round's file whole, then forget all but it and the two before it.

        From the older of them a server goes on that lost its last checkpoint while this round was
        under way.
        """
        array_files.save(moments_of(model, optimizer), self.files.path(self.round), {})
        before = self.files.before(self.round)
        self.files.keep_only((self.round, before, self.files.before(before)))


#: Raised whenever what a file holds changes its meaning.
FORMAT = 2


class RoundProgress:
    """One safetensors file a training, with JSON in its header; it never leaves the site.

    A round takes a file up only if everything that decides its result is what it was then: else
    the file is of another round, or the server sent other weights, and the round starts from its
    beginning. So does one whose file is damaged; that costs time and changes no bit.
    """

    def __init__(self, state: Path, name: str, fingerprint: str) -> None:
        self.path = state / "progress" / f"{name}.safetensors"
        self.key = f"{FORMAT}:{fingerprint}"

    def save(self, arrays: Weights, numbers: dict[str, Any]) -> None:
        """Write the file whole, in place of the one before; ``numbers`` as JSON knows them."""
        header = {"round": self.key, "numbers": json.dumps(numbers)}
        array_files.save(arrays, self.path, {**header, "checksum": str(checksum(arrays))})

    def load(self) -> tuple[Weights, dict[str, Any]] | None:
        """Arrays and numbers to go on from, if there are any of this very round."""
        try:
            header = array_files.load_metadata(self.path)
            if header.get("round") != self.key:
                return None
            arrays, numbers = array_files.load(self.path), json.loads(header["numbers"])
            whole = header["checksum"] == str(checksum(arrays))
        except (CheckpointError, KeyError, ValueError):
            return None
        return (arrays, numbers) if whole else None

    def clear(self) -> None:
        """The round is finished."""
        self.path.unlink(missing_ok=True)
