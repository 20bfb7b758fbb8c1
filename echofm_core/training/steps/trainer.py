"""The steps of a local round, one after the other; a private round replaces what a step is."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from echofm_core.contract import Weights
from echofm_core.runtime.errors import DivergedError, TrainingError
from echofm_core.training.objectives.losses import Losses, Tally
from echofm_core.training.steps.control import ControlVariate
from echofm_core.training.steps.job import Indices, LocalJob
from echofm_core.training.steps.kept import give_moments, moments_of
from echofm_core.training.steps.optimizer import (
    AveragedWeights,
    ProximalPull,
    Turns,
    build_optimizer,
    set_rate,
    trainable,
)


class Trainer:
    """Optimizer, corrections, average and counts of one round; saved and taken up again whole.

    Where processes share the round, each has one; they take every step together, and the first
    writes. The model of the job stands where the round begins.

    Attributes:
        steps, skipped: Steps that are done, skipped ones included, and those.
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
        context = job.context
        self.turns = Turns(self.parameters, context.local, context.alternate_steps)
        shared = {n: item for n, item in self.parameters.items() if n not in context.local}
        anchor = context.anchor
        towards = [torch.from_numpy(anchor[name]) for name in shared] if anchor else None
        self.pull = ProximalPull(shared.values(), context.proximal_mu, towards)
        self.control = ControlVariate(self.parameters, job.control())
        self.average = AveragedWeights(self.parameters, job.config.ema)
        self.tally = Tally()
        self.steps = self.skipped = 0

    def run(
        self, batches: Iterator[Indices], steps: int, windows: np.random.Generator
    ) -> dict[str, float]:
        """Take the steps of the round that are not done yet; returns its metrics.

        ``batches`` are clips of each step of the whole round; a private step may have none. The
        objective draws from ``windows``.

        Raises:
            DivergedError: The loss stays non-finite.
            TrainingError: The round's time is over.
        """
        job, execution = self.job, self.job.context.execution
        self._resume(windows)
        for rows in islice(batches, self.steps, steps):
            self._check_time()
            set_rate(self.optimizer, job.rate(self.steps, steps))
            self.step(job.objective(rows, windows, execution.accumulate) if len(rows) else ())
            if self.progress and self.steps % execution.save_every == 0:
                self._save(windows)
        self._finish()
        return self.tally.over(self.ranks).metrics() | {
            "steps": float(steps - self.skipped),
            "skipped": float(self.skipped),
            "learning_rate": job.rate(steps - 1, steps),
        }

    def step(self, parts: Iterable[Losses]) -> None:
        """One update from the parts of a batch, or none where loss or gradient is not finite.

        Raises:
            DivergedError: More steps were skipped than the plan allows.
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
            raise DivergedError(
                f"site {context.site}, {self.job.phase} round {context.round}: {self.skipped} "
                "steps had a non-finite loss or gradient, more than max_skipped_steps = "
                f"{self.job.config.max_skipped_steps}; lower the learning rate, or check the "
                "site's clips."
            )

    def _check_time(self) -> None:
        """Give the round up where nobody waits for it any more.

        Raises:
            TrainingError: Its time is over.
        """
        context = self.job.context
        if time.time() > context.until:
            raise TrainingError(
                f"site {context.site}, {self.job.phase} round {context.round}: its time was over "
                f"after {self.steps} steps, and nobody waits for it any more; less local work, or "
                "a longer federation.deadline_seconds, or max_minutes in the site's policy."
            )

    def _usable(self, parts: Iterable[Losses], seen: list[Losses]) -> bool:
        """Fill the gradients; True if they and the losses, which go to ``seen``, are finite."""
        parameters = list(self.parameters.values())
        if not self.ranks.sum_gradients(parameters, _backward(parts, seen)):
            return False
        self.turns.take(self.steps)
        self.pull.add()
        self.control.add()
        limit = self.job.config.clip_gradient or math.inf
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        return math.isfinite(norm.item())

    def _finish(self) -> None:
        """Keep moments and control variate if asked to; leave the averaged weights in the model."""
        if self.ranks.first:
            if self.moments:
                self.moments.save(self.job.model, self.optimizer)
            self.control.finish()
        self.average.put()
        if self.progress and self.ranks.first:
            self.progress.clear()

    def _save(self, windows: np.random.Generator) -> None:
        """Save the unfinished round."""
        tally = self.tally.over(self.ranks)
        if not (self.progress and self.ranks.first):
            return
        arrays: Weights = {name: item.cpu().numpy() for name, item in self._tensors().items()}
        moments = moments_of(self.job.model, self.optimizer)
        numbers: dict[str, Any] = {
            "steps": self.steps,
            "skipped": self.skipped,
            "averaged": self.average.steps,
            "control": self.control.steps,
            "tally": tally.sums,
            "windows": windows.bit_generator.state,
            "generators": {
                name: generator.get_state().numpy().tobytes().hex()
                for name, generator in self.job.generators.items()
            },
        }
        self.progress.save({**arrays, **moments}, numbers)

    def _resume(self, windows: np.random.Generator) -> None:
        """Go on where this very round was saved, if it was; ``windows`` goes on too."""
        if saved := self.progress.load() if self.progress else None:
            arrays, numbers = saved
            for name, tensor in self._tensors().items():
                tensor.copy_(torch.from_numpy(arrays[name]))
            give_moments(self.job.model, self.optimizer, arrays)
            self.average.steps = numbers["averaged"]
            self.control.steps = numbers["control"]
            self.steps, self.skipped = numbers["steps"], numbers["skipped"]
            tally = Tally(numbers["tally"])
            self.tally = tally if self.ranks.first else tally.emptied()
            windows.bit_generator.state = numbers["windows"]
            for name, generator in self.job.generators.items():
                state = bytes.fromhex(numbers["generators"][name])
                generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
        self.ranks.agree(self.steps)

    def _tensors(self) -> dict[str, Tensor]:
        """What a saved round holds beside moments; memory is shared with where they are used."""
        weights = {f"weight/{name}": item.detach() for name, item in self.parameters.items()}
        means = {f"average/{name}": mean for name, mean in self.average.means.items()}
        return weights | means | {f"control/{n}": total for n, total in self.control.sums.items()}


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
