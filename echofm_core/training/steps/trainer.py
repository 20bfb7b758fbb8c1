"""One optimizer step after the other of a round without privacy."""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from echofm_core.contract import Weights
from echofm_core.runtime.errors import TrainingError
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.steps.average import AveragedWeights
from echofm_core.training.steps.control import ControlVariate
from echofm_core.training.steps.job import LocalJob
from echofm_core.training.steps.moments import give_moments, moments_of
from echofm_core.training.steps.optimizer import build_optimizer, trainable
from echofm_core.training.steps.progress import Saved
from echofm_core.training.steps.proximal import ProximalPull
from echofm_core.training.steps.tally import Tally


class Trainer:
    """Optimizer, corrections, average and counts of one round; saved and taken up again whole.

    Where processes share the round, each has one; they take every step together, and the first
    writes.

    Attributes:
        steps: Steps that are done, skipped ones included.
        skipped: How many of them were skipped.

    Args:
        job: Its model stands where the round begins.
    """

    def __init__(self, job: LocalJob) -> None:
        self.job = job
        self.ranks = job.context.ranks
        self.progress = job.progress()
        self.parameters = trainable(job.model)
        self.optimizer = build_optimizer(job.model, job.config, job.phase)
        self.moments = job.moments()
        if self.moments:
            self.moments.restore(job.model, self.optimizer)
        self.pull = ProximalPull(self.parameters.values(), job.context.proximal_mu)
        self.control = ControlVariate(self.parameters, job.control())
        self.average = AveragedWeights(self.parameters, job.config.ema)
        self.tally = Tally()
        self.steps = 0
        self.skipped = 0

    def step(self, parts: Iterable[Losses]) -> None:
        """One update from the parts of a batch, or none where loss or gradient is not finite.

        Raises:
            TrainingError: More steps were skipped than the plan allows.
        """
        seen: list[Losses] = []
        if self._usable(parts, seen):
            self.optimizer.step()
            self.average.add()
            for losses in seen:
                self.tally.add(losses)
        else:
            self.skipped += 1
        self.steps += 1
        self.optimizer.zero_grad(set_to_none=True)
        if self.skipped > self.job.config.max_skipped_steps:
            context = self.job.context
            raise TrainingError(
                f"site {context.site}, {self.job.phase} round {context.round}: {self.skipped} "
                "steps had a non-finite loss or gradient, more than max_skipped_steps = "
                f"{self.job.config.max_skipped_steps}; lower the learning rate, or check the "
                "site's clips."
            )

    def finish(self) -> None:
        """Keep moments and control variate if asked to; leave the averaged weights in the model."""
        if self.ranks.first:
            if self.moments:
                self.moments.save(self.job.model, self.optimizer)
            self.control.finish()
        self.average.put()
        if self.progress and self.ranks.first:
            self.progress.clear()

    def metrics(self) -> dict[str, float]:
        """Mean losses of the round, over all processes that share it."""
        return self.tally.over(self.ranks).metrics()

    def keep(self, windows: np.random.Generator) -> None:
        """Save the round after every ``save_every`` steps."""
        if self.progress and self.steps % self.job.context.execution.save_every == 0:
            tally = self.tally.over(self.ranks)
            if self.ranks.first:
                self.progress.save(Saved(self._arrays(), self._numbers(windows, tally)))

    def resume(self, windows: np.random.Generator) -> None:
        """Go on where this very round was saved, if it was; ``windows`` goes on too."""
        saved = self.progress.load() if self.progress else None
        if saved is not None:
            self._take(saved, windows)
        self.ranks.agree(self.steps)

    def _take(self, saved: Saved, windows: np.random.Generator) -> None:
        numbers = saved.numbers
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(torch.from_numpy(saved.arrays[f"weight/{name}"]))
            for name, mean in self.average.means.items():
                mean.copy_(torch.from_numpy(saved.arrays[f"average/{name}"]))
            for name, total in self.control.sums.items():
                total.copy_(torch.from_numpy(saved.arrays[f"control/{name}"]))
        give_moments(self.job.model, self.optimizer, _below("moments/", saved.arrays))
        self.average.steps = numbers["averaged"]
        self.control.steps = numbers.get("control", {})
        self.steps, self.skipped = numbers["steps"], numbers["skipped"]
        tally = Tally.from_json(numbers["tally"])
        self.tally = tally if self.ranks.first else tally.emptied()
        windows.bit_generator.state = numbers["windows"]
        for name, generator in self.job.generators.items():
            state = bytes.fromhex(numbers["generators"][name])
            generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))

    def _arrays(self) -> Weights:
        weights = {f"weight/{name}": item.detach() for name, item in self.parameters.items()}
        means = {f"average/{name}": mean for name, mean in self.average.means.items()}
        sums = {f"control/{name}": total for name, total in self.control.sums.items()}
        moments = moments_of(self.job.model, self.optimizer)
        return {name: item.cpu().numpy() for name, item in (weights | means | sums).items()} | {
            f"moments/{name}": array for name, array in moments.items()
        }

    def _numbers(self, windows: np.random.Generator, tally: Tally) -> dict[str, object]:
        return {
            "steps": self.steps,
            "skipped": self.skipped,
            "averaged": self.average.steps,
            "control": self.control.steps,
            "tally": tally.to_json(),
            "windows": windows.bit_generator.state,
            "generators": {
                name: generator.get_state().numpy().tobytes().hex()
                for name, generator in self.job.generators.items()
            },
        }

    def _usable(self, parts: Iterable[Losses], seen: list[Losses]) -> bool:
        """Fill the gradients; True if they and the losses, which go to ``seen``, are finite."""
        parameters = list(self.parameters.values())
        if not self.ranks.sum_gradients(parameters, _backward(parts, seen)):
            return False
        self.pull.add()
        self.control.add()
        limit = self.job.config.clip_gradient or math.inf
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        return math.isfinite(norm.item())


def _backward(parts: Iterable[Losses], seen: list[Losses]) -> bool:
    """Gradients of this process's rows; True if their losses, which go to ``seen``, are finite."""
    for losses in parts:
        if len(losses.values):
            loss = losses.of_batch()
            if not math.isfinite(loss.item()):
                return False
            loss.backward()  # type: ignore[no-untyped-call]
        seen.append(replace(losses, values=losses.values.detach()))
    return True


def _below(prefix: str, arrays: Weights) -> Weights:
    """Arrays whose name begins with the prefix, without it."""
    return {
        name.removeprefix(prefix): item for name, item in arrays.items() if name.startswith(prefix)
    }
