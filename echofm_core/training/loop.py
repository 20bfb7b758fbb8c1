"""The local training loop of a round, without privacy; :func:`train` picks the private one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from echofm_core.privacy.config import PrivacyKind
from echofm_core.training.job import Indices, LocalJob
from echofm_core.training.optimizer import set_rate
from echofm_core.training.trainer import Trainer


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
    trainer = Trainer(job)
    windows = job.stream("windows")
    trainer.resume(windows)
    for rows in islice(batches(job, job.stream("order")), trainer.steps, None):
        set_rate(trainer.optimizer, job.rate(trainer.steps, steps))
        trainer.step(job.objective(rows, windows, job.config.accumulate))
        trainer.keep(windows)
    trainer.finish()
    return trainer.metrics() | {
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
