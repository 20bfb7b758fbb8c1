"""Both phases at one institution: round after round, kept after each, stopped when it is enough."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

from echofm_core.contract import (
    DECODER,
    ENCODER,
    HEADS,
    LORA_A,
    LORA_B,
    STF_NET,
    Phase,
    Weights,
    group_of,
)
from echofm_core.data.manifest import Split
from echofm_core.institution.data import SITE, InstitutionData
from echofm_core.institution.run_folder import ALONE, RoundEntry, RunFolder
from echofm_core.models.build import build_autoencoder, build_tuned_model
from echofm_core.models.lora import UNTRAINED, merged
from echofm_core.models.saved import save_model, trained_tasks
from echofm_core.models.weights import load_arrays, named_weights, to_arrays
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PrivacyError
from echofm_core.tracking._api import TrackedRound
from echofm_core.tracking.listener import Tracking
from echofm_core.training.config import PhaseConfig, TuneMode
from echofm_core.training.context import LocalContext
from echofm_core.training.objectives.phases import Model
from echofm_core.training.rounds import train_round
from echofm_core.training.validation import validation_loss

#: Called after each round.
OnRound = Callable[[RoundEntry], None]
#: What each phase keeps.
GROUPS = {
    Phase.PRETRAIN: (ENCODER, DECODER),
    Phase.FINETUNE: (ENCODER, LORA_A, LORA_B, STF_NET, HEADS),
}


def train(
    plan: Plan,
    data: InstitutionData,
    run: RunFolder,
    *,
    start: Weights | None = None,
    on_round: OnRound | None = None,
) -> Path:
    """Train a phase to its end, from where the folder stands, and write its model.

    AdamW's moments are always kept from round to round: there is no server to start anew from.

    Args:
        plan: Uses the table of the folder's phase.
        data: What to train and validate on.
        run: Folder; a killed run that is called again ends on the same bits.
        start: Weights to begin with, whole groups; the others are drawn from the plan's seed.
        on_round: Shows progress.

    Returns:
        Folder of the model: encoder and decoder, or a model that can predict, with the weights of
        the best round where there is a validation set.

    Raises:
        CheckpointError: The starting weights do not fit.
        PrivacyError: The plan asks for differential privacy, which is kept per federation.
    """
    check_privacy(plan)
    phase, config = run.phase, config_of(plan, run.phase)
    pretraining = phase is Phase.PRETRAIN
    model = build_autoencoder(plan) if pretraining else build_tuned_model(plan)
    if start is None and not pretraining and plan.finetune.mode is TuneMode.LORA:
        warnings.warn(UNTRAINED, RuntimeWarning, stacklevel=2)
    _begin(model, start)
    run.recover()
    entries = run.entries()
    if entries:
        load_arrays(model, run.last())
    with Tracking(plan, run.path, arm=ALONE) as tracking:
        for entry in entries:
            tracking.add(tracked(phase, entry))
        while len(entries) < config.rounds and not _enough(entries, config.patience):
            entries.append(_one_round(plan, data, run, model, entries))
            tracking.add(tracked(phase, entries[-1]))
            if on_round:
                on_round(entries[-1])
    groups = {group for entry in entries for group in entry.counts}
    tasks = trained_tasks(groups)
    weights = merged(run.best() or to_arrays(model, GROUPS[phase]), plan.finetune.lora)
    save_model(run.path / "model", weights, plan, tasks)
    return run.path / "model"


def check_privacy(plan: Plan) -> None:
    """Refuse a private plan.

    Raises:
        PrivacyError: The plan asks for differential privacy, which is kept per federation.
    """
    if plan.privacy.kind is not PrivacyKind.NONE:
        raise PrivacyError(
            "the plan asks for differential privacy, whose ledger belongs to a federation; use "
            '`echofm simulate`, or set privacy.kind = "none".'
        )


def tracked(phase: Phase, entry: RoundEntry) -> TrackedRound:
    """A round's metrics for trackers."""
    return TrackedRound(phase=phase, round=entry.round, metrics=entry.metrics)


def config_of(plan: Plan, phase: Phase) -> PhaseConfig:
    """The plan's table of a phase."""
    return plan.pretrain if phase is Phase.PRETRAIN else plan.finetune


def _begin(model: Model, start: Weights | None) -> None:
    """Take of the starting weights those groups that the model has."""
    if start is None:
        return
    here = {group_of(name) for name in named_weights(model)}
    fitting = {name: array for name, array in start.items() if group_of(name) in here}
    if ENCODER not in {group_of(name) for name in fitting}:
        raise CheckpointError(
            "the starting weights hold no encoder; give the model of `echofm pretrain`, of a "
            "federation, or an imported one."
        )
    load_arrays(model, fitting)


def _one_round(
    plan: Plan,
    data: InstitutionData,
    run: RunFolder,
    model: Model,
    entries: list[RoundEntry],
) -> RoundEntry:
    """Train one round, validate, keep."""
    started, number = time.monotonic(), len(entries) + 1
    context = LocalContext(
        seed=plan.seed,
        site=SITE,
        round=number,
        rounds=config_of(plan, run.phase).rounds,
        device=plan.machine.device,
        state=run.state,
    )
    clips = data.windows(Split.TRAIN, plan, run.phase)
    report = train_round(model, clips, _keeping(plan, run.phase), context, plan.machine.devices)
    held_out = data.windows(Split.VALIDATION, plan, run.phase)
    loss = validation_loss(model, held_out, plan, site=SITE, device=plan.machine.device)
    weights = to_arrays(model, GROUPS[run.phase])
    seconds = {"seconds": round(time.monotonic() - started, 3)}
    entry = RoundEntry(
        round=number,
        counts=report.counts,
        metrics={**report.metrics, **({} if loss is None else {"validation": loss}), **seconds},
        digest=digest(weights),
        best=_best(entries, number, loss),
    )
    run.keep(entry, weights)
    return entry


def _keeping(plan: Plan, phase: Phase) -> Plan:
    """The plan with AdamW's moments kept in a phase."""
    config = config_of(plan, phase).model_copy(update={"keep_optimizer": True})
    return plan.model_copy(update={phase.value: config})


def _best(entries: list[RoundEntry], number: int, loss: float | None) -> int:
    """Round with the least validation loss, this one included; 0 without validation."""
    if loss is None:
        return 0
    losses = {entry.round: entry.metrics["validation"] for entry in entries} | {number: loss}
    return min(losses, key=lambda round_: (losses[round_], round_))


def _enough(entries: list[RoundEntry], patience: int) -> bool:
    """Has validation not become better for as many rounds as the plan waits?"""
    if not entries or not patience or not entries[-1].best:
        return False
    return entries[-1].round - entries[-1].best >= patience
