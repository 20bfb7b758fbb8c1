"""DP-SGD at the site: what leaves it says little about whether any one patient took part.

The unit is the patient. Each step draws patients independently (Poisson), one random window of
one random clip of each; each patient's gradient is clipped, their sum gets Gaussian noise and is
divided by the *expected* number of patients, which does not depend on who was drawn. Everything
behind that (AdamW, kept moments, the FedProx pull, averaged weights, aggregation) only processes
the result.

Source: Abadi 2016; per-sample gradients and clipping by Opacus.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn

from echofm_core.privacy.accounting import Steps, steps_of_round
from echofm_core.privacy.ledger import SYSTEM, Entry, Ledger
from echofm_core.privacy.mechanism import (
    NoiseSource,
    PatientSampler,
    check_delta,
    check_model,
    stream_noise,
    system_noise,
)
from echofm_core.privacy.options import check_options
from echofm_core.runtime.errors import PrivacyError
from echofm_core.runtime.randomness import stream, torch_stream
from echofm_core.training.objectives.losses import Losses
from echofm_core.training.steps.job import LocalJob, patient_numbers
from echofm_core.training.steps.trainer import Trainer


def train_private(job: LocalJob) -> dict[str, float]:
    """Run one private local round; the model is changed in place.

    The loss is not among the metrics: it is computed from patients' data without noise.

    Raises:
        PrivacyError: The model, the plan or the site does not allow it, or the budget is spent;
            nothing was trained.
    """
    check_options(job.config, job.context.execution)
    sampler = PatientSampler(job.clips, patient_numbers(job.manifest)[job.clips])
    check_model(job.model)
    check_delta(job.context.privacy, len(sampler))
    steps = steps_of_round(job.config, len(sampler))
    noise = _noise_multiplier(job)
    randomness = SYSTEM if job.context.privacy.secure else _fingerprint(job, noise, steps)
    metrics = _spend(job, noise, steps, randomness)
    source, rng = _randomness(job, randomness)
    with per_sample_gradients(job.model):
        trainer = PrivateTrainer(
            job,
            source=source,
            noise_multiplier=noise,
            max_grad_norm=job.context.privacy.clip_norm,
            expected_batch_size=steps.rate * len(sampler),
        )
        drawn = sampler.draw(steps.rate, steps.steps, rng)
        return metrics | trainer.run(drawn, steps.steps, rng)


class PrivateTrainer(Trainer):
    """Steps along clipped and noised gradients; none is skipped, and no loss is counted.

    The job's model has per-sample gradients; ``options`` are of :class:`PrivateOptimizer`.
    """

    def __init__(self, job: LocalJob, **options: Any) -> None:
        super().__init__(job)
        self.private = PrivateOptimizer(self.optimizer, **options)
        self.private.attach_step_hook(lambda _: self.pull.add())  # after the noise

    def step(self, parts: Iterable[Losses]) -> None:
        """One update from a step's patients, of whom there may be none."""
        for losses in parts:
            losses.of_samples().sum().backward()  # type: ignore[no-untyped-call]
        self.private.step()
        self.average.add()
        self.steps += 1
        self.private.zero_grad(set_to_none=True)


class PrivateOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' optimizer with noise from a given source, and no step that depends on the data.

    The ``optimizer`` uses the noised gradients; ``options`` are of Opacus'.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, source: NoiseSource, **options: float
    ) -> None:
        super().__init__(optimizer, loss_reduction="mean", **options)
        self.source = source

    def pre_step(self, closure: Callable[[], float] | None = None) -> bool:
        """Clip and add noise; a patient's gradient that is not finite counts as zero.

        Skipping the step instead would reveal that such a patient was there. In an empty step, and
        for parameters that no drawn patient reached, the sum is zero: they get noise alone.
        """
        drawn = next((len(p.grad_sample) for p in self.params if p.grad_sample is not None), 0)
        for p in self.params:
            if p.grad_sample is None:
                p.grad_sample = p.new_zeros((drawn, *p.shape))
        norms = [p.grad_sample.flatten(1).norm(dim=1) for p in self.params]
        broken = ~torch.stack(norms, dim=1).norm(dim=1).isfinite()
        if broken.any():
            for p in self.params:
                p.grad_sample[broken] = 0.0
        return bool(super().pre_step(closure))

    def add_noise(self) -> None:
        """Add noise to the clipped sum."""
        for p in self.params:
            noise = self.source(p.summed_grad)
            p.grad = p.summed_grad + noise * (self.noise_multiplier * self.max_grad_norm)


@contextmanager
def per_sample_gradients(model: nn.Module) -> Iterator[None]:
    """Within the block, backward also fills ``grad_sample`` (B, ...) of each trainable parameter.

    Raises:
        PrivacyError: A layer has no per-sample gradient.
    """
    try:
        hooked = GradSampleModule(model, loss_reduction="sum", strict=True)
    except (NotImplementedError, ValueError) as error:
        raise PrivacyError(
            f"per-sample gradients cannot be had of this model ({error}); train it without "
            "privacy, or change the layer."
        ) from None
    with warnings.catch_warnings():
        # The first layer's input needs no gradient, which the hook rightly finds remarkable.
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        try:
            yield
        finally:
            hooked.to_standard_module()


def _noise_multiplier(job: LocalJob) -> float:
    """Noise of this round, from the plan or calibrated by the caller."""
    context = job.context
    noise = context.privacy.noise_multiplier or context.noise_multiplier
    if not noise:
        raise PrivacyError(
            f"site {context.site} was asked for privacy.epsilon = {context.privacy.epsilon} but "
            "got no noise calibrated to it; nothing is trained without noise."
        )
    return noise


def _spend(job: LocalJob, noise: float, steps: Steps, randomness: str) -> dict[str, float]:
    """Enter the round in the ledger; returns what the journal may know."""
    context, privacy = job.context, job.context.privacy
    if context.account is None:
        raise PrivacyError(
            f"site {context.site} has no ledger, so what it spends of its privacy budget could not "
            "be kept; give it a state folder."
        )
    entry = Entry(
        phase=job.phase,
        round=context.round,
        noise=noise,
        rate=steps.rate,
        steps=steps.steps,
        randomness=randomness,
        run=context.account.run,
    )
    ledger, own = Ledger(context.account.folder), context.account.own
    spent = ledger.spend(entry, privacy.delta, privacy.epsilon, own)
    return {
        "epsilon": spent,
        "delta": privacy.delta,
        "noise_multiplier": noise,
        "sample_rate": steps.rate,
    }


def _randomness(job: LocalJob, randomness: str) -> tuple[NoiseSource, np.random.Generator]:
    """Noise, and the choice of patients and windows: amplification needs that secret too."""
    if randomness == SYSTEM:
        return system_noise, np.random.Generator(np.random.PCG64())  # seeded by the system
    context = job.context
    key = (context.seed, context.site, context.round)
    noise = stream_noise(torch_stream(*key, f"{job.phase}.noise.{randomness}"))
    return noise, stream(*key, f"{job.phase}.patients.{randomness}")


def _fingerprint(job: LocalJob, noise: float, steps: Steps) -> str:
    """SHA-256 of all that decides the round's result, in hex.

    Repeatable noise must never meet two different inputs: their difference would be free of it.
    """
    return hashlib.sha256(f"{job.fingerprint()}|{noise!r}|{steps!r}".encode()).hexdigest()
