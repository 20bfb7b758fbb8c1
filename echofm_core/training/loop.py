"""The local training loop of a round, without privacy; :func:`train` picks the private one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from echofm_core.errors import TrainingError
from echofm_core.privacy.config import PrivacyKind
from echofm_core.training.job import Indices, LocalJob
from echofm_core.training.losses import Losses
from echofm_core.training.optimizer import build_optimizer, set_rate, trainable
from echofm_core.training.proximal import ProximalPull


def train(job: LocalJob) -> dict[str, float]:
    """Run one local round and return its metrics; the model is changed in place.

    Raises:
        TrainingError: The loss stays non-finite.
        PrivacyError: Privacy was asked for and cannot be had.
    """
    job.model.train()
    if job.context.privacy.kind is PrivacyKind.LOCAL:
        from echofm_core.privacy.dp_sgd import train_private  # Opacus is slow to import

        return train_private(job)
    return train_plain(job)


def train_plain(job: LocalJob) -> dict[str, float]:
    """Mini-batch AdamW over ``local_epochs`` passes. See :func:`train`."""
    steps = steps_of_round(len(job.clips), job.config.batch_size, job.config.local_epochs)
    trainer = _Trainer(job)
    windows = job.stream("windows")
    for step, rows in enumerate(batches(job, job.stream("order"))):
        set_rate(trainer.optimizer, job.rate(step, steps))
        trainer.step(job.objective(rows, windows))
    trainer.finish()
    return trainer.tally.metrics() | {
        "steps": float(steps - trainer.skipped),
        "skipped": float(trainer.skipped),
        "learning_rate": job.rate(steps - 1, steps),
    }


def steps_of_round(clips: int, batch_size: int, epochs: int) -> int:
    """Optimizer steps of a round; none is larger than ``batch_size``."""
    return math.ceil(clips / batch_size) * epochs


def batches(job: LocalJob, rng: np.random.Generator) -> Iterator[Indices]:
    """Rows of each batch: every clip once a pass, in a new order each pass.

    Batches of a pass differ in size by at most one, so that no clip weighs more for having fallen
    into a small rest.
    """
    count = math.ceil(len(job.clips) / job.config.batch_size)
    for _ in range(job.config.local_epochs):
        yield from np.array_split(rng.permutation(job.clips), count)


class _Trainer:
    """Optimizer, proximal pull and the count of skipped steps of one round."""

    def __init__(self, job: LocalJob) -> None:
        self.job = job
        self.parameters = list(trainable(job.model).values())
        self.optimizer = build_optimizer(job.model, job.config, job.phase)
        self.moments = job.moments()
        if self.moments:
            self.moments.restore(job.model, self.optimizer)
        self.pull = ProximalPull(self.parameters, job.context.proximal_mu)
        self.tally = Tally()
        self.skipped = 0

    def step(self, losses: Losses) -> None:
        """One update, or none where loss or gradient is not finite.

        Raises:
            TrainingError: More steps were skipped than the plan allows.
        """
        loss = losses.of_batch()
        if self._usable(loss):
            self.optimizer.step()
            self.tally.add(losses)
        else:
            self.skipped += 1
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
        """Keep the moments if the plan says so."""
        if self.moments:
            self.moments.save(self.job.model, self.optimizer)

    def _usable(self, loss: torch.Tensor) -> bool:
        """Fill the gradients; True if they and the loss are finite."""
        if not math.isfinite(loss.item()):
            return False
        loss.backward()  # type: ignore[no-untyped-call]
        self.pull.add()
        limit = self.job.config.clip_gradient or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        return math.isfinite(norm.item())


class Tally:
    """Mean losses of a round, each task over its labelled clips."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.sums: torch.Tensor | None = None
        self.counts: torch.Tensor | None = None

    def add(self, losses: Losses) -> None:
        """Count one batch."""
        sums = losses.values.detach().double().sum(dim=0).cpu()
        counts = losses.counted.sum(dim=0).cpu()
        self.names = losses.names
        self.sums = sums if self.sums is None else self.sums + sums
        self.counts = counts if self.counts is None else self.counts + counts

    def metrics(self) -> dict[str, float]:
        """``loss``, the sum over tasks, and ``loss/<task>`` where there are several."""
        if self.sums is None or self.counts is None:
            return {}
        means = (self.sums / self.counts.clamp(min=1)).tolist()
        total = {"loss": float(sum(means))}
        if len(means) == 1:
            return total
        return total | {f"loss/{name}": mean for name, mean in zip(self.names, means, strict=True)}
