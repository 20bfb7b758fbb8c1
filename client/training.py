"""A round at a site: put the global weights in, train, take the shared groups out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import nn

from client.site import Site
from client.state import SiteState
from client.wire import make_update
from echofm_core.contract import (
    DECODER,
    TRAIN,
    VALIDATE,
    VALIDATION,
    Instruction,
    Phase,
    Update,
    Weights,
    group_of,
)
from echofm_core.models.build import build_autoencoder, build_tuned_model
from echofm_core.models.weights import load_arrays, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import PrivacyKind
from echofm_core.training.context import LocalContext, RoundReport
from echofm_core.training.objectives.phases import Model
from echofm_core.training.rounds import train_round
from echofm_core.training.validation import validation_loss


def pretrain(site: Site, plan: Plan, instruction: Instruction, state: SiteState) -> Update:
    """One round of masked auto-encoding; a decoder that is not shared stays here."""
    started = time.monotonic()
    model = build_autoencoder(plan)
    load_arrays(model, instruction.weights)
    own_decoder = DECODER not in _groups(instruction.weights)
    if own_decoder:
        load_arrays(model, state.decoder(instruction.round))
    report = _train(site, plan, Phase.PRETRAIN, instruction, state, model)
    if own_decoder and report.counts:
        state.keep_decoder(to_arrays(model, [DECODER]), instruction.round)
    return _update(site, plan, Phase.PRETRAIN, instruction, model, report, started)


def finetune(site: Site, plan: Plan, instruction: Instruction, state: SiteState) -> Update:
    """One round of supervised training on this site's own labels."""
    started = time.monotonic()
    model = build_tuned_model(plan)
    load_arrays(model, instruction.weights)
    load_arrays(model, state.frozen(instruction.frozen, instruction.frozen_digest))
    report = _train(site, plan, Phase.FINETUNE, instruction, state, model)
    validates = plan.validates and len(site.validation_clips(Phase.FINETUNE))
    if not report.counts or (instruction.round == plan.finetune.rounds and not validates):
        state.forget_frozen()
    return _update(site, plan, Phase.FINETUNE, instruction, model, report, started)


#: What each phase does.
TRAINERS: Mapping[Phase, Callable[[Site, Plan, Instruction, SiteState], Update]] = {
    Phase.PRETRAIN: pretrain,
    Phase.FINETUNE: finetune,
}


def _train(
    site: Site, plan: Plan, phase: Phase, instruction: Instruction, state: SiteState, model: Model
) -> RoundReport:
    """Validate the model as it came, where that is asked for and the plan has it, then train it.

    Nothing is trained where the instruction says so: then no group has clips behind it.
    """
    metrics: dict[str, float] = {}
    if instruction.settings.get(VALIDATE) and plan.validates:
        clips = site.validation_clips(phase)
        loss = validation_loss(model, clips, plan, site=site.name, device=site.execution.device)
        metrics |= {} if loss is None else {VALIDATION: loss}
    if not instruction.settings.get(TRAIN, 1.0):
        return RoundReport(counts={}, metrics=metrics)
    clips = site.train_clips(phase)
    context = _context(site, plan, phase, instruction, state)
    report = train_round(model, clips, plan, context)
    return replace(report, metrics={**report.metrics, **metrics})


def _context(
    site: Site, plan: Plan, phase: Phase, instruction: Instruction, state: SiteState
) -> LocalContext:
    return LocalContext(
        seed=plan.seed,
        site=site.name,
        round=instruction.round,
        rounds=plan.rounds_of(phase),
        execution=site.execution,
        proximal_mu=instruction.settings.get("proximal_mu", 0.0),
        state=state.folder,
        privacy=plan.privacy,
        noise_multiplier=_noise(site, plan),
    )


def _noise(site: Site, plan: Plan) -> float:
    """Noise of DP-SGD, which this site works out for itself; 0 where the plan is not private."""
    if plan.privacy.kind is PrivacyKind.NONE:
        return 0.0
    from echofm_core.privacy.budget import resolve_noise

    return resolve_noise(plan, site.patients_by_phase())


def _update(
    site: Site,
    plan: Plan,
    phase: Phase,
    instruction: Instruction,
    model: nn.Module,
    report: RoundReport,
    started: float,
) -> Update:
    """What leaves the site: shared groups with clips behind them, counts and numbers."""
    shared = _groups(instruction.weights)
    counts = {group: count for group, count in report.counts.items() if group in shared and count}
    return make_update(
        site=site.name,
        phase=phase,
        instruction=instruction,
        weights=to_arrays(model, list(counts)),
        counts=counts,
        metrics={**report.metrics, "seconds": round(time.monotonic() - started, 3)},
        precision=plan.federation.wire,
    )


def _groups(weights: Weights) -> set[str]:
    return {group_of(name) for name in weights}
