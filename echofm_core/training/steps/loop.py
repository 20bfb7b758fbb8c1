"""The local training loop of a round: its batches; :func:`train` picks the private one."""

import math
from collections.abc import Iterator
from itertools import count, islice

import numpy as np

from echofm_core.privacy.config import PrivacyKind
from echofm_core.training.steps.job import Indices, LocalJob
from echofm_core.training.steps.trainer import Trainer


def train(job: LocalJob) -> dict[str, float]:
    """Run one local round and return its metrics; the model is changed in place.

    Raises:
        DivergedError: The loss stays non-finite.
        PrivacyError: Privacy was asked for and cannot be had.
    """
    job.model.train()
    if job.context.privacy.kind is PrivacyKind.LOCAL:
        from echofm_core.training.steps.private import train_private  # Opacus is slow to import

        return train_private(job)
    steps = job.config.steps_of_round(len(job.clips))
    return Trainer(job).run(batches(job), steps, job.stream("windows"))


def batches(job: LocalJob) -> Iterator[Indices]:
    """Rows of each batch of a round, without end: every clip once a pass, in a new order each pass.

    Counted in epochs, a round begins a new pass. Counted in steps, it goes on within the pass where
    the round before ended; since the order of a pass is a stream of its own, nothing is kept for
    that, and a site that missed a round goes on as if it had been there.
    """
    if not job.config.local_steps:
        rng = job.stream("order")
        while True:
            yield from _pass(job, rng)
    per_pass = math.ceil(len(job.clips) / job.config.batch_size)
    done, within = divmod((job.context.round - 1) * job.config.local_steps, per_pass)
    for number in count(done):
        yield from islice(_pass(job, job.stream("pass", number)), within, None)
        within = 0


def _pass(job: LocalJob, rng: np.random.Generator) -> list[Indices]:
    """Every clip once, in batches whose sizes differ by at most one.

    So no clip weighs more for having fallen into a small rest.
    """
    parts = math.ceil(len(job.clips) / job.config.batch_size)
    return np.array_split(rng.permutation(job.clips), parts)
