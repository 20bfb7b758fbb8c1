"""Tunes the methods of a study: trains their settings, and chooses by validation patients.

Each setting is trained with the first seed alone. Each training of a method then has the setting
that does best on the validation patients of the sites that train in it, so that nothing of a site
that is left out, never seen, or (of each site alone) another one's, takes part in its choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.score import labelled_tasks
from echofm_core.live.record import LiveRun
from echofm_core.plan.document import Plan
from echofm_core.report.tuning import TUNING, TUNING_COLUMNS
from echofm_core.runtime.errors import PlanError, ResumeError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.sessions import Sessions
from echofm_core.tasks import TASKS, TaskKind
from simulations.methods._api import Method, Piece, Values
from simulations.study.candidates import Candidate, candidates, keys_tried
from simulations.study.cells import Cell
from simulations.study.diverged import Choices, chosen
from simulations.study.estimate import tasks_at
from simulations.study.folder import finished
from simulations.study.variations import Variation
from simulations.study.work import VALIDATION, Job, do_all

#: By what a task counts in the choice.
METRICS = {TaskKind.REGRESSION: "r2", TaskKind.BINARY: "auc", TaskKind.MULTICLASS: "macro_auc"}


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """The settings of all methods of a part.

    Attributes:
        cell: Of the first seed.
        methods: With the settings of each, as many of every one.
    """

    cell: Cell
    methods: tuple[tuple[Method, tuple[Candidate, ...]], ...]

    def jobs(self) -> list[Job]:
        """All trainings of all settings, each once and behind the one that it begins with."""
        found: dict[str, Job] = {}
        for _, settings in self.methods:
            for candidate in settings:
                words = Variation(candidate.values).sentence
                for piece in candidate.pieces:
                    for one in (piece.start, piece):
                        if one:
                            key, own = one.key(self.cell.data), one is piece
                            job = Job(self.cell, one, key, own, words if own else "")
                            found.setdefault(key, job)
        return list(found.values())


def trials_of(cell: Cell) -> Trials:
    """What a part tries by its plan's ``study.tune``.

    Raises:
        PlanError: No site that trains has validation patients to choose by.
    """
    plan, count = cell.plan, cell.plan.study.tune
    manifest = cell.prepared.manifest
    judges, tested = (tasks_at(manifest, plan, split) for split in (Split.VALIDATION, Split.TEST))
    # A site without test labels is not asked for predictions.
    asked = {site for site in judges if any(tested.get(site, {}).values())}
    if not any(any(judges[site].values()) for site in asked - set(plan.protocol.unseen)):
        raise PlanError(
            f"study.tune is {count}, but no site that trains, and has test labels, has a "
            "validation patient with a label to choose by: set study.tune = 0, or keep some aside "
            "for validation."
        )
    return Trials(
        cell,
        tuple(
            (method, tuple(candidates(method, cell.setting, count))) for method, _ in cell.methods
        ),
    )


def tune(parts: Sequence[Cell], live: LiveRun, sessions: Sessions) -> list[Cell]:
    """Train all settings with the first seed, choose, and keep ``tuning.parquet`` by each table.

    Args:
        parts: Of the study, all seeds, with the plan's own values.
        live, sessions: Of the study.

    Returns:
        The same parts with the chosen settings, without methods of which none trains.

    Raises:
        ResumeError: As :func:`check_kept`.
        DivergedError: No setting of any method trains.
        EchoFMError: As of a training; one that diverges ends nothing.
    """
    first = parts[0].plan.seed
    every = [trials_of(cell) for cell in parts if cell.plan.seed == first]
    jobs = [job for trials in every for job in trials.jobs()]
    check_kept(jobs)
    do_all(jobs, live, sessions, lambda cell: None)
    found = {}
    for trials in every:
        place = trials.cell.folder.parent
        table, found[place] = choose(trials)
        write_whole(place / TUNING, table.to_parquet(index=False))
    return [chosen(cell, found[cell.folder.parent]) for cell in parts]


def check_kept(jobs: Sequence[Job]) -> None:
    """Refuse, before anything trains, what an earlier version has trained.

    Raises:
        ResumeError: A finished training of a setting keeps nothing to choose it by.
    """
    for job in jobs:
        if job.trial and finished(job.place) and not (job.place / VALIDATION).exists():
            raise ResumeError(
                f"{job.place} keeps no predictions of validation patients, as it was trained by an "
                "earlier version, so that no setting can be chosen: remove that folder, and it is "
                "trained again, or choose another --out."
            )


def forget_tuning(parts: Sequence[Cell]) -> None:
    """Take away what an earlier session of the study has chosen."""
    for place in {cell.folder.parent for cell in parts}:
        (place / TUNING).unlink(missing_ok=True)


def choose(trials: Trials) -> tuple[pd.DataFrame, Choices]:
    """The setting of each training with the best score; of equal ones the earlier, the plan first.

    Returns:
        Columns of :data:`TUNING_COLUMNS`, a row a training and setting; and method -> name of a
        training's arm -> chosen values, None where no setting trains.
    """
    rows, choices = list[list[object]](), dict[str, dict[str, Values | None]]()
    for method, settings in trials.methods:
        keys = keys_tried(settings)
        for number, piece in enumerate(settings[0].pieces):
            held = [_held(trials.cell, candidate.pieces[number]) for candidate in settings]
            judged = _judged(held, piece.plan.finetune.reduced_ef_threshold)
            best = best_of([score for _, score in judged])
            lost = all(found is None for found in held)
            values = None if lost else settings[best].values
            choices.setdefault(method.name, {})[piece.arm.name] = values
            for one, candidate in enumerate(settings):
                words = Variation(candidate.values).sentence or _planned(piece.plan, keys)
                rows.append(
                    [method.name, piece.arm.name, words, *judged[one], one == best and not lost]
                )
    return pd.DataFrame(rows, columns=list(TUNING_COLUMNS)), choices


def best_of(scores: Sequence[float]) -> int:
    """Index of the best score; of equal ones, and where none is a number, the first."""
    known = [-math.inf if math.isnan(score) else score for score in scores]
    return known.index(max(known))


def validation_score(rows: pd.DataFrame, threshold: float) -> float:
    """How well a model does on validation patients: the mean over its tasks.

    A measurement counts with R2, a yes or no with the AUC, classes with the mean of their AUCs;
    each over all patients of all sites in ``rows`` together, a study counting once.

    Args:
        rows: Of :func:`echofm_core.training.predict.predict`.
        threshold: EF in percent below which it is reduced.

    Returns:
        At most 1. Minus infinity where a prediction is not finite; NaN where no task can be scored,
        as with one patient, or one class. These depend on the patients alone.
    """
    values = []
    for task, cases in labelled_tasks(rows):
        if not np.isfinite(cases.prediction).all():
            return -math.inf
        ones = np.ones((1, len(cases.truth)))
        found = task_metrics(task, cases.truth, cases.prediction, ones, threshold)
        values.append(float(found[METRICS[TASKS[task].kind]][0]))
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _held(cell: Cell, piece: Piece) -> pd.DataFrame | None:
    """Predictions of a training for validation patients, of what it learnt; None: it diverged."""
    if cell.diverged(piece):
        return None
    rows = pd.read_parquet(cell.place(piece) / VALIDATION)
    return rows if rows.empty else rows[rows["task"].isin([task.value for task in piece.arm.tasks])]


def _judged(held: Sequence[pd.DataFrame | None], threshold: float) -> list[tuple[int, float]]:
    """Patients and score of each setting of a training; all are judged by the same patients.

    One that lacks some of them, since a site could not be tested with it, has no score (NaN); one
    that diverged has minus infinity.
    """
    keys = ["site", "task", "dataset", "clip_id"]
    known = [
        set[object]() if rows is None or rows.empty else set(zip(*(rows[k] for k in keys)))  # noqa: B905
        for rows in held
    ]
    every, found = set[object]().union(*known), list[tuple[int, float]]()
    for rows, own in zip(held, known, strict=True):
        if rows is None:
            found.append((0, -math.inf))
        elif not own:
            found.append((0, math.nan))
        else:
            score = validation_score(rows, threshold) if own == every else math.nan
            found.append((patient_keys(rows).nunique(), score))
    return found


def _planned(plan: Plan, keys: Sequence[str]) -> str:
    """The plan's own values of some keys, in words."""
    values = {}
    for key in keys:
        table, _, name = key.partition(".")
        values[key] = getattr(getattr(plan, table), name)
    return Variation(values).sentence
