"""What a plan or a study will do and take, printed before anything trains; nothing is kept.

Data folders are read, a few clips are decoded into a folder that goes again, and a short probe
(``probe.py``) measures what steps and tests take here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from rich.console import Console

from echofm_core.contract import Phase
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.data.prepare import Prepared, read
from echofm_core.evaluation.model_names import LOCAL
from echofm_core.pages.grid import Grid, terminal_table
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import require_machine
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.console import console as terminal
from echofm_core.runtime.text import many, span
from echofm_core.training.label_share import as_trained, label_share_notes
from simulations.arms import Arm, plan_arms
from simulations.few_shot import FewShot, plan_shots
from simulations.prepare import check_sites, trained_on
from simulations.protocols.assign import RULES, assign_sites
from simulations.ray_cluster import require_cluster
from simulations.study.candidates import check_tuning
from simulations.study.cells import cell_of, settings, study_of
from simulations.study.estimate import (
    Data,
    Work,
    decode_seconds,
    memory_of,
    shots_work,
    tasks_at,
    work_of,
)
from simulations.study.plan_warnings import warnings_of
from simulations.study.power import detectable_notes
from simulations.study.probe import Costs, probe
from simulations.study.published import check_published
from simulations.study.published_sites import check_published_sites
from simulations.study.score_probe import score_seconds
from simulations.study.tuning import trials_of

#: Keys of a phase that decide how many steps there are, or what they end with, and not their time.
_HOW_MANY = {
    *("rounds", "local_steps", "local_epochs", "warmup_rounds", "patience"),
    *("learning_rate", "label_fraction", "standardisation"),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Forecast:
    """What a plan will take under one protocol and variation.

    Attributes:
        plan: Of this protocol, variation and the first seed.
        manifest: With sites and splits.
        trainings: Name -> what one training takes, each once.
        tuning: Likewise of the settings that are tried beside the plan's, with one seed alone.
        notes: Methods that are left out.
        seeds: How many times all of it is trained.
        decode: Seconds of decoding.
        score: Seconds of scores and comparisons, of all models and seeds.
        memory: Bytes.
        models: How many are scored; beside them the floor without a network is.
        rivals: With how many rows of the table the federated model is compared.
        varied: The variation in words; may be empty.
    """

    plan: Plan
    manifest: pd.DataFrame
    trainings: Mapping[str, Work]
    tuning: Mapping[str, Work]
    notes: tuple[str, ...]
    seeds: int
    decode: float
    score: float
    memory: int
    models: int
    rivals: int
    varied: str = ""

    @property
    def seconds(self) -> float:
        """Of decoding, of all trainings on the plan's workers, and of scores."""
        whole = self.seeds * sum(work.seconds for work in self.trainings.values())
        whole += sum(work.seconds for work in self.tuning.values())
        return self.decode + self.score + whole / self.plan.machine.workers

    @property
    def bytes(self) -> int:
        """Between sites, each training once."""
        tried = sum(work.bytes for work in self.tuning.values())
        return self.seeds * sum(work.bytes for work in self.trainings.values()) + tried


def dry_run(plan: Plan, folder: Path, console: Console = terminal) -> list[Forecast]:
    """Print sites, patients, labels, rounds, bytes, memory and time, and what will not work.

    Args:
        plan: Of a run or of a study.
        folder: Where it would run; its decoded clips count, if it has any.

    Raises:
        EchoFMError: What would keep it from beginning.
    """
    check_published(plan)
    check_tuning(plan)
    require_machine(plan.machine, plan.finetune)
    require_cluster(plan.machine)
    found, findings = read(plan.data, plan.machine, plan.protocol.datasets)
    cache = Path(plan.machine.cache or folder / "cache")
    costs, forecasts, counted = dict[str, Costs](), list[Forecast](), set[str]()
    placed = ((here, _placed(found, here)) for _, here, _ in settings(plan))
    check_published_sites(plan, placed)
    for common, here, variation in settings(plan):
        manifest = _placed(found, here)
        check_sites(manifest, here)
        cost = costs.get(_kind_of_step(here)) or probe(here, manifest)
        costs[_kind_of_step(here)] = cost
        forecast = _forecast(here, common, manifest, folder, cost, counted)
        forecast = replace(
            forecast,
            varied=variation.sentence,
            decode=0.0 if forecasts else decode_seconds(found, here, cache, cost),
        )
        forecasts.append(forecast)
        _print(forecast, console)
    console.print(f"{many(findings.quarantined, 'file')} cannot be used", markup=False)
    _print_totals(forecasts, console)
    return forecasts


def _placed(found: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """A manifest with the sites and splits of a plan."""
    few_shot = bool(plan.evaluation.few_shot)
    return assign_sites(found, plan.protocol, plan.seed, few_shot=few_shot)


def _kind_of_step(plan: Plan) -> str:
    """All of a plan that decides how long a step takes, but for its data."""
    words = [plan.model.model_dump_json()]
    for phase in Phase:
        words += [
            str(plan.rounds_of(phase) > 0),
            plan.table_of(phase).model_dump_json(exclude=_HOW_MANY),
        ]
    return " ".join(words)


def _forecast(
    plan: Plan, common: Plan, manifest: pd.DataFrame, folder: Path, costs: Costs, counted: set[str]
) -> Forecast:
    """What one protocol and variation take beside decoding, without trainings counted before."""
    planned = _planned(plan, common, manifest, folder, counted)
    data, study = Data(manifest, plan), study_of(plan)
    work = {name: work_of(arm, own, data, costs) for name, (arm, own) in planned.trainings.items()}
    work |= {few.arm.name: shots_work(few, data, costs) for few in planned.shots if few.shots}
    # Of a study each seed's scores, and then those of the means over seeds.
    scored = planned.models * study.seeds * (2 if plan.study.asked else 1)
    return Forecast(
        plan=plan,
        manifest=manifest,
        trainings=work,
        tuning={
            name: work_of(arm, own, data, costs) for name, (arm, own) in planned.tuning.items()
        },
        notes=planned.notes,
        seeds=study.seeds,
        decode=0.0,
        score=scored * score_seconds(plan, manifest),
        memory=memory_of(plan, costs),
        models=planned.models,
        rivals=planned.rivals,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Planned:
    """Trainings by the name of their arm, those on a few patients; the rest as of a forecast."""

    trainings: Mapping[str, tuple[Arm, Plan]]
    tuning: Mapping[str, tuple[Arm, Plan]]
    shots: Sequence[FewShot]
    models: int
    rivals: int
    notes: tuple[str, ...]


def _planned(
    plan: Plan, common: Plan, manifest: pd.DataFrame, folder: Path, counted: set[str]
) -> _Planned:
    """What is trained; of a study with one seed, without what is ``counted`` already by its key."""
    if not plan.study.asked:
        arms, notes = plan_arms(as_trained(manifest, plan), plan)
        tested = sum(bool(arm.test) for arm in arms)
        shots, missing = plan_shots(manifest, plan, arms)
        named = {arm.name: (arm, arm.plan(plan)) for arm in arms}
        return _Planned(
            trainings=named,
            tuning={},
            shots=shots,
            models=tested,
            rivals=max(1, tested - 1),  # or the floor alone
            notes=(*notes, *missing),
        )
    prepared = Prepared(manifest=manifest, findings=Findings(), stores=folder)
    cell = cell_of(plan, folder, prepared, study_of(plan).methods, common)
    new = {key: piece for key, piece in cell.pieces().items() if key not in counted}
    counted.update(new)
    tried = trials_of(cell).jobs() if plan.study.tune else []
    tried = [job for job in tried if job.key not in counted]
    counted.update(job.key for job in tried)
    scored = [piece.arm for _, pieces in cell.methods for piece in pieces if piece.arm.test]
    alone = {arm.model for arm in scored if arm.model.startswith(LOCAL)}  # rows beside methods
    return _Planned(
        trainings={p.arm.name: (p.arm, p.plan) for p in new.values()},
        tuning={job.words: (job.piece.arm, job.piece.plan) for job in tried},
        shots=[shot.few for shot in cell.shots if shot.piece.key(cell.data) in new],
        models=len(scored),
        rivals=max(1, len(cell.methods) - 1 + len(alone)),
        notes=cell.notes,
    )


def _print(forecast: Forecast, console: Console) -> None:
    plan, varied = forecast.plan, forecast.varied and f", {forecast.varied}"
    console.print(
        f"\nprotocol {plan.protocol.name.value}{varied}: {RULES[plan.protocol.name].caveat}",
        markup=False,
    )
    console.print(terminal_table(site_grid(forecast), console.width))
    if forecast.trainings or forecast.tuning:
        console.print(terminal_table(work_grid(forecast), console.width))
        if forecast.seeds > 1:
            console.print(f"Each row is one of {forecast.seeds} trainings, one a seed.")
    for note in label_share_notes(plan, trained_on(forecast.manifest, plan)):
        console.print(f"note: {note}", markup=False)
    for note in (*forecast.notes, *warnings_of(plan, forecast.manifest)):
        console.print(f"warning: {note}", markup=False)
    for note in detectable_notes(plan, forecast.manifest, forecast.rivals):
        console.print(note, markup=False)


def site_grid(forecast: Forecast) -> Grid:
    """A row a site: patients of each split, and patients with labels to train and to test on."""
    plan, rows = forecast.plan, []
    train, test = (tasks_at(forecast.manifest, plan, split) for split in (Split.TRAIN, Split.TEST))
    for key, mine in forecast.manifest.groupby("site", observed=True):
        people = patient_keys(mine).groupby(mine["split"]).nunique()
        site = str(key)
        name = f"{site} (never seen)" if site in plan.protocol.unseen else site
        labels = [
            f"{train[site][task.value]} / {test[site][task.value]}" for task in plan.finetune.tasks
        ]
        rows.append((name, *(str(people.get(split.value, 0)) for split in Split), *labels))
    columns = ("site", "to train", "to validate", "to test")
    titles = (f"{task.value} train / test" for task in plan.finetune.tasks)
    return Grid(
        columns=(*columns, *titles),
        rows=tuple(rows),
        numbers=frozenset(range(1, 4 + len(plan.finetune.tasks))),
    )


def work_grid(forecast: Forecast) -> Grid:
    """A row a training: rounds, steps at all sites, bytes, and time on one worker.

    Settings that are tried come last, with their values in brackets.
    """
    rows = [
        (name, str(work.rounds), f"{work.steps:,}", f"{work.bytes / 1e6:,.1f}", span(work.seconds))
        for name, work in (*forecast.trainings.items(), *forecast.tuning.items())
    ]
    return Grid(
        columns=("training", "rounds", "steps", "MB between sites", "time on one worker"),
        rows=tuple(rows),
        numbers=frozenset(range(1, 5)),
    )


def _print_totals(forecasts: Sequence[Forecast], console: Console) -> None:
    plan = forecasts[0].plan
    seconds = sum(forecast.seconds for forecast in forecasts)
    decode = sum(forecast.decode for forecast in forecasts)
    score = sum(forecast.score for forecast in forecasts)
    size = sum(forecast.bytes for forecast in forecasts)
    memory = max(forecast.memory for forecast in forecasts)
    workers, seeds = plan.machine.workers, many(forecasts[0].seeds, "seed")
    if tried := sum(len(forecast.tuning) for forecast in forecasts):
        seeds += f" and {many(tried, 'training')} of other settings"
    console.print(
        f"in all about {span(seconds)} on {many(workers, 'worker')} for {seeds} "
        f"({span(decode)} of it to decode, {span(score)} to score); "
        f"{size / 1e6:,.1f} MB between sites; about "
        f"{memory / 1e9:.1f} GB of memory. Times were measured on a few steps and clips just now: "
        "expect them within a factor of 2 where the machine does nothing else.",
        markup=False,
    )
    if plan.privacy.kind is not PrivacyKind.NONE:
        console.print("Steps were timed without the plan's noise; private ones take longer.")
