"""SCAFFOLD at a site: gradients are corrected by what sets this site apart from all.

A site's control variate ``c_i`` is the mean of its own gradients over the steps of a round, and
the server's ``c`` is the mean of those of all sites. Each local step uses ``g - c_i + c``. With
plain SGD that mean is option II of the paper, ``c_i - c + (x - y_i) / (K * rate)``, exactly.

Here the optimizer is AdamW, whose steps do not show its gradients; so the gradients themselves are
averaged. AdamW is given the corrected gradient: its moments are of corrected gradients, and its
weight decay is apart from both. Where the sites' gradients have a weighted mean of zero, each
corrected one is zero on average: the common optimum stays where it is, whatever the optimizer.

The correction comes *before* clipping, and the mean is of gradients *before* both. Were ``c`` a
mean of clipped gradients, it would not be zero at the optimum of sites that clip unlike. So one
outlier of a gradient counts whole in the mean, while the step that it makes is clipped as ever.

Source: Karimireddy et al. 2020, SCAFFOLD: Stochastic Controlled Averaging, algorithm 1.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echofm_core.contract import Phase, Weights
from echofm_core.runtime import array_files
from echofm_core.runtime.errors import CheckpointError, FederationError
from echofm_core.training.steps.kept import RoundFiles


class ControlFiles:
    """A site's control variates on its disk, a file a round; what is sent is their change.

    The server says from which round it counts this site's ``c_i`` (``base``), and the change is
    taken from that one. So an update that was refused, lost or late is as if it had not been,
    at both sides, and a round that is done again gives the same bits.

    Args:
        state: The site's state folder of this run.
        phase, round_: The current round, from 1.
        base: Round whose ``c_i`` the server counts; 0: none, which is zero.
    """

    def __init__(self, state: Path, phase: Phase, round_: int, base: int = 0) -> None:
        folder = state / "control"
        self.files = RoundFiles(folder, phase)
        self.phase, self.round, self.base = phase, round_, base
        self._correction = folder / f"{phase}.correction.safetensors"
        self._mean = folder / f"{phase}.mean.safetensors"

    def begin(self, server: Weights, shared: Weights) -> None:
        """Write the correction of this round, ``c - c_i``.

        Of the server's ``c``, what is missing is zero; of ``shared``, what the site trains for the
        server, only names and shapes are read.

        Raises:
            FederationError: The ``c_i`` of that round is not here.
        """
        own = self._own()
        correction = {
            name: server.get(name, np.zeros(array.shape, np.float32)) - own.get(name, np.float32(0))
            for name, array in shared.items()
        }
        array_files.save(correction, self._correction, {})

    def correction(self) -> Weights:
        """What :meth:`begin` wrote.

        Raises:
            CheckpointError: It is damaged, or gone.
        """
        return array_files.load(self._correction)

    def keep_mean(self, mean: Weights) -> None:
        """Write the mean gradients of the round."""
        array_files.save(mean, self._mean, {})

    def end(self, sent: Weights) -> dict[str, NDArray[np.float32]]:
        """Keep the new ``c_i`` and return its change from that of round ``base``.

        A parameter without a gradient in this round keeps its ``c_i``. Files stay of this round,
        of ``base`` and of the one before it, from which a server goes on that lost its last
        checkpoint.

        Of ``sent``, the weights that the site sends, only names and shapes are read.

        Raises:
            CheckpointError, FederationError: A file of this round, or of ``base``, is gone.
        """
        own, mean = self._own(), array_files.load(self._mean)
        array_files.save({**own, **mean}, self.files.path(self.round), {})
        self.files.keep_only((self.round, self.base, self.files.before(self.base)))
        return {
            name: np.asarray(mean[name] - own.get(name, np.float32(0)), np.float32)
            if name in mean
            else np.zeros(array.shape, np.float32)
            for name, array in sent.items()
        }

    def _own(self) -> Weights:
        if not self.base:
            return {}
        try:
            return array_files.load(self.files.path(self.base))
        except CheckpointError:
            raise FederationError(
                f"this site does not hold its control variate of {self.phase} round {self.base}, "
                "from which the server counts; give the site its state folder back, or start a new "
                "run."
            ) from None


class ControlVariate:
    """Adds the correction where gradients are, and takes their mean.

    Parameters without a correction are left alone; without files nothing is kept or done.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], files: ControlFiles | None) -> None:
        self.files = files
        self.steps: dict[str, int] = {}
        self.sums: dict[str, Tensor] = {}
        self._held: dict[str, tuple[nn.Parameter, Tensor]] = {}
        for name, array in (files.correction() if files else {}).items():
            if (item := parameters.get(name)) is not None:
                self._held[name] = (item, torch.from_numpy(array).to(item.device))
                self.sums[name] = torch.zeros_like(item)
                self.steps[name] = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take in the gradients of a step, then correct them; a step that is skipped adds nothing.

        A parameter without a gradient (a head, in a batch without its labels) is left out.
        """
        held = {n: pair for n, pair in self._held.items() if pair[0].grad is not None}
        gradients = [parameter.grad for parameter, _ in held.values()]
        if not math.isfinite(torch.nn.utils.get_total_norm(gradients).item()):  # type: ignore[arg-type]
            return
        for name, (parameter, correction) in held.items():
            assert parameter.grad is not None
            self.sums[name] += parameter.grad
            self.steps[name] += 1
            parameter.grad += correction

    def finish(self) -> None:
        """Write the mean gradients of the round."""
        if self.files:
            counted = {name: total for name, total in self.sums.items() if self.steps[name]}
            self.files.keep_mean(
                {name: (total / self.steps[name]).cpu().numpy() for name, total in counted.items()}
            )
