"""An institution by itself: a federation of one site, on this machine and without a server.

It goes through the same rounds, journal and run folder as every federation, so what is kept, gone
on with, selected and tested stands there. What differs is the plan: see :func:`plan_of_one`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import typer

from echofm_core.contract import Phase, Weights
from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.data.prepare import ONE_SITE, Prepared, as_one_site, prepare
from echofm_core.data.splits import label_count, labelled_sites, unlabelled_notes
from echofm_core.evaluation.model_names import ALONE
from echofm_core.live.record import live_run
from echofm_core.models.saved import check_start, load_weights
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import FederationConfig, Select
from echofm_core.plan.preflight import preflight_notes, require_machine
from echofm_core.privacy.config import PrivacyKind
from echofm_core.run_claim import claim, held, look
from echofm_core.runtime import errors
from echofm_core.runtime.console import Meter, progress
from echofm_core.runtime.errors import EchoFMError, EmptySiteError, FederationError, PlanError
from echofm_core.runtime.sessions import Sessions
from echofm_core.runtime.text import many
from echofm_core.tasks import Task
from echofm_core.training.label_share import as_trained, label_share_notes
from echofm_core.training.personal import PersonalConfig
from server.ending import FederationResult
from server.events import Event, EventKind, OnEvent, ignore
from server.live_steps import LiveListener, OnStep, ignore_step
from simulations.arm_training import Training
from simulations.arms import Arm
from simulations.engine import Engine
from simulations.outcome import Outcome, conclude, write_floor
from simulations.prepare import save_sites


def train_alone(
    plan: Plan, phase: Phase, run: Path, *, start: Path | None = None, resume: bool = False
) -> Outcome:
    """Train one phase on all data of a plan as one institution, test what can predict, and report.

    Args:
        plan: That of a federation; the table of the phase counts.
        phase: Which.
        run: Run folder; new, or an interrupted one with ``resume``, which goes on to the same bits.
        start: Weights to begin with: a file, a model folder or a run folder. Groups that they lack
            are drawn from the plan's seed; without any, ``machine.start`` counts.

    Raises:
        PrivacyError, PlanError: As :func:`plan_of_one`.
        CheckpointError: The weights to begin with do not fit.
        EmptySiteError: As :func:`check_training`.
        ResumeError: The folder holds another run, or one and ``resume`` is not given.
        EchoFMError: Anything else that the plan, the data or a round can get wrong.
    """
    plan = plan_of_one(plan, phase)
    require_machine(plan.machine, plan.finetune)
    for note in (warned := preflight_notes(plan)):
        typer.echo(f"warning: {note}")
    name = "" if start is None else check_start(start, plan.model, plan.data)
    weights: Weights = {} if start is None else load_weights(start)
    begun = {"phase": phase.value, "start": name}
    look(run, plan, resume=resume, begun=begun)
    prepared = _prepared(plan, phase, run)
    with held(run), live_run(run, plan.rounds) as live:
        claim(run, plan, resume=resume, begun=begun)
        sessions, listener = Sessions(run), LiveListener(live, ALONE)
        live.expect(ALONE, quarantined=prepared.findings.quarantined)
        save_sites(prepared, plan, run)
        shared = _say_data(plan, phase, run, prepared)
        with progress(phase.value, plan.rounds_of(phase)) as meter:

            def show(event: Event) -> None:
                listener.event(event)
                if event.round_done:
                    sessions.tick()
                _show(event, meter)

            result = federate_one(
                plan,
                run,
                prepared,
                start=start,
                weights=weights,
                resume=resume,
                on_event=show,
                on_step=listener.step,
            )
        live.say("writing the report")
        write_floor(plan, run, prepared)
        return conclude(
            plan,
            run,
            result,
            model=ALONE,
            origin="Trained on the data of one institution.",
            seconds=sessions.tick(),
            warned=[*warned, *shared],
        )


def _prepared(plan: Plan, phase: Phase, run: Path) -> Prepared:
    """The clips of a plan's data as one site, decoded; refused where nothing can be trained."""
    tasks, views = plan.finetune.tasks, plan.protocol.views

    def place(manifest: pd.DataFrame) -> pd.DataFrame:
        return as_one_site(manifest, plan.protocol, plan.seed)

    prepared = prepare(
        plan.data,
        plan.machine,
        plan.protocol.datasets,
        Path(plan.machine.cache or run / "cache"),
        place,
        lambda found: check_training(place(found), phase, tasks, views),
    )
    check_training(prepared.manifest, phase, tasks, views)
    return prepared


def _say_data(plan: Plan, phase: Phase, run: Path, prepared: Prepared) -> list[str]:
    """Print what is trained on and what has no labels; returns what the report says of labels."""
    views = plan.protocol.views
    trained = replace(prepared, manifest=as_trained(prepared.manifest, plan))
    typer.echo(f"{summary(trained, phase, views)} ({run / 'findings.parquet'})")
    planned = plan.finetune.tasks if plan.finetune.rounds else ()
    shared = label_share_notes(plan, prepared.manifest)
    for note in (*unlabelled_notes(trained.manifest, planned, views), *shared):
        typer.echo(f"note: {note}")
    return shared


def plan_of_one(plan: Plan, phase: Phase) -> Plan:
    """A plan for one site and one phase.

    There is nobody to average with: a round goes on with AdamW's moments of the one before, weights
    stay in full precision, the decoder belongs to the result, and nothing is personal. That is the
    best round by validation, unless the plan names ``federation.select``.

    Raises:
        PrivacyError: The plan asks for differential privacy, whose ledger a federation keeps.
        PlanError: The plan has no round of this phase.
    """
    if plan.privacy.kind is not PrivacyKind.NONE:
        raise errors.PrivacyError(
            "the plan asks for differential privacy, whose ledger belongs to a federation; use "
            '`echofm simulate`, or set privacy.kind = "none".'
        )
    if not plan.rounds_of(phase):
        raise PlanError(f"{phase.value}.rounds is 0: there is nothing to train.")
    pretraining, named = phase is Phase.PRETRAIN, plan.federation.model_fields_set
    own: dict[str, object] = {"keep_optimizer": True}
    own |= {"share_decoder": True} if pretraining else {}
    federation = FederationConfig(
        select=plan.federation.select if "select" in named else Select.BEST,
        validate_every=plan.federation.validate_every,
    )
    threads = plan.machine.threads
    if "threads" not in plan.machine.model_fields_set:
        threads = torch.get_num_threads()  # there is one site, which may have them all
    return plan.model_copy(
        update={
            "pretrain": plan.pretrain.model_copy(update=own if pretraining else {"rounds": 0}),
            "finetune": plan.finetune.model_copy(update={"rounds": 0} if pretraining else own),
            "federation": federation,
            "personal": PersonalConfig(),
            "protocol": plan.protocol.model_copy(update={"unseen": ()}),
            "machine": plan.machine.model_copy(update={"threads": threads}),
        }
    )


def federate_one(
    plan: Plan,
    run: Path,
    prepared: Prepared,
    *,
    start: Path | None = None,
    weights: Weights | None = None,
    resume: bool = False,
    on_event: OnEvent = ignore,
    on_step: OnStep = ignore_step,
) -> FederationResult:
    """Train and test a plan of :func:`plan_of_one` in a run folder that holds the site's manifest.

    Raises:
        EchoFMError: What the site could not do, as the error that it met.
    """
    test = prepared.manifest[prepared.manifest["split"] == Split.TEST.value]
    tasks = [task for task in plan.finetune.tasks if label_count(test, task, plan.protocol.views)]
    arm = Arm(
        name=ALONE,
        model=ALONE,
        train=(ONE_SITE,),
        test=(ONE_SITE,) if tasks and plan.finetune.rounds else (),
        tasks=plan.finetune.tasks,
        trainers=1,
    )
    with Engine(execution=plan.machine) as engine:
        training = Training(run, plan, prepared, engine, resume, start, weights or {})
        try:
            return training.train(arm, on_event, on_step)
        except FederationError as error:
            raise _own_error(error) from None


def check_training(
    manifest: pd.DataFrame, phase: Phase, tasks: Sequence[Task], views: Sequence[str]
) -> None:
    """Refuse data that a phase has nothing to train on; nothing need be decoded for it.

    Raises:
        EmptySiteError: No clip is for training, or none has a label of a planned task.
    """
    if not (manifest["split"] == Split.TRAIN.value).any():
        raise EmptySiteError(
            f"none of {many(len(manifest), 'clip')} is for training; lower protocol.test_fraction, "
            "or add data."
        )
    if phase is Phase.FINETUNE and not labelled_sites(manifest, tasks, views):
        raise EmptySiteError(
            f"no training clip has a label for {', '.join(tasks)}; `echofm data "
            "doctor` counts the labels: name other tasks or views, or pre-train."
        )


def summary(prepared: Prepared, phase: Phase, views: Sequence[str]) -> str:
    """One line: clips of each split for a phase, patients, and files that cannot be used."""
    rows = prepared.manifest
    if phase is Phase.FINETUNE and views:
        rows = rows[rows["view"].isin(list(views))]
    train, validate, test = (int((rows["split"] == split.value).sum()) for split in Split)
    patients = patient_keys(prepared.manifest).nunique()
    return (
        f"{many(train, 'clip')} to train on, {validate} to validate, {test} to test, of "
        f"{many(patients, 'patient')}; {many(prepared.findings.quarantined, 'file')} cannot be used"
    )


def _show(event: Event, meter: Meter) -> None:
    """Count a round, with its loss and the validation loss of the one before."""
    if event.round_done and event.replayed:
        meter.advance()
    elif event.round_done:
        known = not math.isnan(event.validation)
        before = f", validation {event.validation:.4f} before" if known else ""
        meter.advance(note=f"round {event.round}: loss {event.loss:.4f}{before}")
    elif event.kind is EventKind.VALIDATED:
        meter.advance(0, note=f"round {event.round}: validation {event.validation:.4f} after it")


def _own_error(error: FederationError) -> EchoFMError:
    """What the one site met, by the kind and sentence of its reply; of others, that it failed."""
    found = re.search(r"(\w+Error): (.*)", error.reasons.get(ONE_SITE, ""), re.DOTALL)
    kind = getattr(errors, found[1], None) if found else None
    if found and isinstance(kind, type) and issubclass(kind, EchoFMError):
        return kind(found[2])
    return error
