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

from client.plan_words import shared_groups
from echofm_core.contract import Phase
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import Split
from echofm_core.data.prepare import Prepared, read
from echofm_core.data.splits import unlabelled_notes
from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.evaluation.model_names import LOCAL
from echofm_core.pages.grid import Grid, terminal_table
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import masking_notes, require_machine
from echofm_core.privacy.accounting import resolve_noise
from echofm_core.privacy.config import PrivacyKind
from echofm_core.runtime.console import console as terminal
from echofm_core.runtime.text import many, span
from echofm_core.training.label_share import as_trained
from simulations.arms import Arm, plan_arms
from simulations.few_shot import FewShot, plan_shots
from simulations.prepare import check_sites
from simulations.protocols.assign import RULES, assign_sites
from simulations.study.cells import cell_of, settings, study_of
from simulations.study.estimate import (
    Data,
    Work,
    decode_seconds,
    memory_of,
    noise_to_signal,
    shots_work,
    tasks_at,
    work_of,
)
from simulations.study.power import detectable_notes
from simulations.study.probe import Costs, probe
from simulations.study.published import check_published, check_published_sites
from simulations.study.score_probe import score_seconds

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
        whole = sum(work.seconds for work in self.trainings.values())
        return self.decode + self.score + self.seeds * whole / self.plan.machine.workers

    @property
    def bytes(self) -> int:
        """Between sites, each training once."""
        return self.seeds * sum(work.bytes for work in self.trainings.values())


def dry_run(plan: Plan, folder: Path, console: Console = terminal) -> list[Forecast]:
    """Print sites, patients, labels, rounds, bytes, memory and time, and what will not work.

    Args:
        plan: Of a run or of a study.
        folder: Where it would run; its decoded clips count, if it has any.

    Raises:
        EchoFMError: What would keep it from beginning.
    """
    check_published(plan)
    require_machine(plan.machine, plan.finetune)
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
            shots=shots,
            models=tested,
            rivals=max(1, tested - 1),  # or the floor alone
            notes=(*notes, *missing),
        )
    prepared = Prepared(manifest=manifest, findings=Findings(), stores=folder)
    cell = cell_of(plan, folder, prepared, study_of(plan).methods, common)
    new = {key: piece for key, piece in cell.pieces().items() if key not in counted}
    counted.update(new)
    scored = [piece.arm for _, pieces in cell.methods for piece in pieces if piece.arm.test]
    alone = {arm.model for arm in scored if arm.model.startswith(LOCAL)}  # rows beside methods
    return _Planned(
        trainings={p.arm.name: (p.arm, p.plan) for p in new.values()},
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
    if forecast.trainings:
        console.print(terminal_table(work_grid(forecast), console.width))
    for note in (*forecast.notes, *warnings_of(forecast)):
        console.print(f"warning: {note}", markup=False)
    for note in detectable_notes(plan, forecast.manifest, forecast.rivals):
        console.print(note, markup=False)


def site_grid(forecast: Forecast) -> Grid:
    """A row a site: patients of each split, and patients with labels to train and to test on."""
    plan, rows = forecast.plan, []
    train, test = (tasks_at(forecast.manifest, plan, split) for split in (Split.TRAIN, Split.TEST))
    for key, mine in forecast.manifest.groupby("site", observed=True):
        people = mine.groupby("split", observed=True)["patient_id"].nunique()
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
    """A row a training: rounds, steps at all sites, bytes, and time on one worker."""
    rows = [
        (name, str(work.rounds), f"{work.steps:,}", f"{work.bytes / 1e6:,.1f}", span(work.seconds))
        for name, work in forecast.trainings.items()
    ]
    return Grid(
        columns=("training", "rounds", "steps", "MB between sites", "time on one worker"),
        rows=tuple(rows),
        numbers=frozenset(range(1, 5)),
    )


def warnings_of(forecast: Forecast) -> list[str]:
    """What will not work, or will say little: a sentence each."""
    plan, manifest = forecast.plan, forecast.manifest
    few, found = plan.evaluation.min_patients, masking_notes(plan)
    planned = plan.finetune.tasks if plan.finetune.rounds else ()
    found += unlabelled_notes(as_trained(manifest, plan), planned, plan.protocol.views)
    train, test = (tasks_at(manifest, plan, split) for split in (Split.TRAIN, Split.TEST))
    for task in planned:
        learns = [
            site
            for site, counts in train.items()
            if counts[task.value] and site not in plan.protocol.unseen
        ]
        if len(learns) == 1:
            found.append(
                f"{TASK_TITLES[task]} has training labels at {learns[0]} alone: nothing is "
                "averaged for it but the encoder, and leaving that site out is n/a."
            )
        small = {site: n for site, counts in test.items() if 0 < (n := counts[task.value]) < few}
        if small:
            sites = ", ".join(f"{n} at {site}" for site, n in small.items())
            found.append(
                f"{TASK_TITLES[task]} has fewer than {few} test patients at some sites ({sites}): "
                "too few to judge, so that they get values and no comparison."
            )
    return [*found, *_private_warnings(forecast)]


def _private_warnings(forecast: Forecast) -> list[str]:
    """Of differential privacy: sites whose noise is longer than their gradients can be."""
    plan = forecast.plan
    if plan.privacy.kind is PrivacyKind.NONE:
        return []
    found, data = [], Data(forecast.manifest, plan)
    phases = {phase: plan.table_of(phase) for phase in Phase if plan.rounds_of(phase)}
    rows = forecast.manifest[forecast.manifest["split"] == Split.TRAIN.value]
    for site in sorted(set(rows["site"]) - set(plan.protocol.unseen)):
        people = max(1, int(rows.loc[rows["site"] == site, "patient_id"].nunique()))
        noise = resolve_noise(plan.privacy, phases, people)
        for phase, table in phases.items():
            if not data.clips(site, Split.TRAIN, phase):
                continue
            steps = table.steps_of_round(people) * table.rounds
            size = sum(shared_groups(plan, phase).values())
            ratio = noise_to_signal(plan, phase, size, steps, noise)
            if ratio > 1:
                found.append(
                    f"privacy drowns the signal of {phase.value} at {site}: over its {steps:,} "
                    f"steps the noise (multiplier {noise:.2f}) is {ratio:,.0f} times as long as "
                    "clipped gradients that all point one way; raise epsilon or the batch, train "
                    "fewer parameters (finetune.mode), or more patients."
                )
    return found


def _print_totals(forecasts: Sequence[Forecast], console: Console) -> None:
    plan = forecasts[0].plan
    seconds = sum(forecast.seconds for forecast in forecasts)
    decode = sum(forecast.decode for forecast in forecasts)
    score = sum(forecast.score for forecast in forecasts)
    size = sum(forecast.bytes for forecast in forecasts)
    memory = max(forecast.memory for forecast in forecasts)
    workers, seeds = plan.machine.workers, forecasts[0].seeds
    console.print(
        f"in all about {span(seconds)} on {many(workers, 'worker')} for {many(seeds, 'seed')} "
        f"({span(decode)} of it to decode, {span(score)} to score); "
        f"{size / 1e6:,.1f} MB between sites; about "
        f"{memory / 1e9:.1f} GB of memory. Times were measured on a few steps and clips just now: "
        "expect them within a factor of 2 where the machine does nothing else.",
        markup=False,
    )
    if plan.privacy.kind is not PrivacyKind.NONE:
        console.print("Steps were timed without the plan's noise; private ones take longer.")
