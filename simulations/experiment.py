"""One experiment: prepare sites, train every arm, evaluate, and write the run folder."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from echofm_core.data.prepare import Prepared
from echofm_core.data.splits import unlabelled_notes
from echofm_core.evaluation.few_shot import few_shot_lines
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.live.record import LiveRun, live_run
from echofm_core.models.lora import untrained_notes
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import preflight_notes, require_machine
from echofm_core.run_claim import claim, held, look
from echofm_core.runtime.console import console, progress
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.sessions import Sessions
from echofm_core.runtime.signals import thread_pool
from echofm_core.training.label_share import as_trained, label_share_notes
from echofm_core.training.personal import personal_notes
from server.aggregation.own_rule import load_rule
from server.ending import FederationResult
from server.events import Event, OnEvent
from server.live_steps import LiveListener, OnStep
from simulations.arm_training import Training
from simulations.arms import Arm, plan_arms
from simulations.engine import Engine
from simulations.few_shot import FewShot, plan_shots, score_shots, train_shots
from simulations.outcome import Outcome, conclude, write_floor
from simulations.pictures import draw_pictures
from simulations.placement import lent_notes, placement_notes
from simulations.prepare import mirrored_notes, prepare_sites, save_sites, trained_on
from simulations.protocols.assign import RULES
from simulations.ray_cluster import require_cluster

_T = TypeVar("_T")

#: Whether sites are synthetic -> how they are called.
_SITES = {False: "site", True: "synthetic sites, which are no institutions,"}


def run_experiment(plan: Plan, run: Path, *, resume: bool = False) -> Outcome:
    """Train a federation and its reference models on split public data, and report.

    The run folder is new, or that of an interrupted run of the same plan, with ``resume``.

    Raises:
        ResumeError: The folder holds a run, and ``resume`` is not given or the plan differs.
        EchoFMError: Anything that the plan, the data or a round can get wrong.
    """
    sessions, made = Sessions(run), RULES[plan.protocol.name].synthetic
    look(run, plan, resume=resume)
    require_machine(plan.machine, plan.finetune)
    require_cluster(plan.machine)
    Engine.announce(plan.machine)
    if plan.federation.rule:
        load_rule(plan)  # before any clip is decoded
    for note in (warned := preflight_notes(plan)):
        console.print(f"warning: {note}", markup=False)
    prepared = prepare_sites(plan, Path(plan.machine.cache or run / "cache"))
    with held(run), live_run(run, plan.rounds) as live:
        claim(run, plan, resume=resume)
        save_sites(prepared, plan, run)
        trained = as_trained(prepared.manifest, plan)
        arms, notes = plan_arms(trained, plan)
        notes = [RULES[plan.protocol.name].caveat, *mirrored_notes(prepared, plan.data), *notes]
        notes += [*placement_notes(prepared.manifest, plan), *untrained_notes(plan)]
        notes += label_share_notes(plan, trained_on(prepared.manifest, plan))
        shots, missing = plan_shots(prepared.manifest, plan, arms)
        notes += [*missing, *lent_notes(plan)]
        notes += personal_notes(plan.personal)
        planned = plan.finetune.tasks if plan.finetune.rounds else ()
        # Not among the notes of the report: the verdict says it in its own words.
        seen = trained_on(trained, plan)
        for note in unlabelled_notes(seen, planned, plan.protocol.views):
            console.print(f"note: {note}")
        sessions.tick()
        names = [*(arm.name for arm in arms), *(few.arm.name for few in shots if few.shots)]
        live.expect(*names, quarantined=prepared.findings.quarantined)
        result, shots, lost = _train(plan, run, prepared, arms, shots, sessions, live, resume)
        notes += lost
        if shots:
            notes += few_shot_lines(score_shots(shots, plan, run), plan.evaluation.min_patients)
        live.say("testing without a network, drawing pictures and writing the report")
        write_floor(plan, run, prepared)
        draw_pictures(plan, run, prepared)
        return conclude(
            plan,
            run,
            result,
            model=FEDERATED,
            origin=f"Trained on public data, split by {_SITES[made]} on one machine.",
            synthetic_sites=made,
            seconds=sessions.tick(),
            notes=notes,
            warned=warned,
        )


def _train(
    plan: Plan,
    run: Path,
    prepared: Prepared,
    arms: Sequence[Arm],
    shots: Sequence[FewShot],
    sessions: Sessions,
    live: LiveRun,
    resume: bool,
) -> tuple[FederationResult, list[FewShot], list[str]]:
    """Train and test all arms, then what begins with their models; as many at once as workers.

    A reference model whose training diverges is left out, with all that would begin with it.

    Returns:
        The federation's result, fine-tuning on few patients that there is, and a sentence for each
        training that is left out.

    Raises:
        FederationError: The federation diverges, or something else fails in any training.
    """
    machine, later = plan.machine, [few for few in shots if few.shots]
    plans = [*(arm.plan(plan) for arm in arms), *(few.plan(plan) for few in later)]
    rounds = sum(sum(each.rounds.values()) for each in plans)
    with (
        Engine.of(machine) as engine,
        progress("training", rounds) as meter,
        thread_pool(min(machine.workers, len(arms))) as pool,
    ):
        training = Training(run, plan, prepared, engine, resume)

        def shown(arm: Arm) -> tuple[OnEvent, OnStep]:
            listener = LiveListener(live, arm.name)

            def show(event: Event) -> None:
                listener.event(event)
                meter.begin()  # the engine is there
                if event.round_done:
                    sessions.tick()
                    meter.advance(1, note=arm.name)
                if arm.name == FEDERATED and (event.round_done or event.warnings):
                    console.print(event.line())

            return show, listener.step

        def one(arm: Arm) -> FederationResult:
            return training.train(arm, *shown(arm))

        def fine_tune(few: FewShot) -> None:
            train_shots(training, few, results[few.base.name].weights, *shown(few.arm))

        futures = {arm.name: pool.submit(one, arm) for arm in arms}
        results, lost = _trained(futures, live)
        later = [few for few in later if few.base.name in results]
        tuned, diverged = _trained(
            {few.arm.name: pool.submit(fine_tune, few) for few in later}, live
        )
        there = {*results, *tuned}
        left = [few for few in shots if (few.arm if few.shots else few.base).name in there]
        return results[FEDERATED], left, [*lost, *diverged]


def _trained(futures: Mapping[str, Future[_T]], live: LiveRun) -> tuple[dict[str, _T], list[str]]:
    """What trainings ended with, by name, and a sentence for each that diverged."""
    found, lost = dict[str, _T](), list[str]()
    for name, future in futures.items():
        try:
            found[name] = future.result()
        except FederationError as error:
            if name == FEDERATED or not error.diverged:
                raise
            lost.append(
                f"{name} is left out: its training diverged; a lower finetune.learning_rate may "
                "help."
            )
            console.print(f"{lost[-1]} {error}", markup=False)
            with live.change() as record:
                record.models.pop(name, None)
    return found, lost
