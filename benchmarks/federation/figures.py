"""The figures of the federation benchmark: scores of every model, and the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks._kept import KEPT, keep, kept, page_of
from benchmarks._rows import Bar, Row
from benchmarks.federation.contrast import measured
from benchmarks.federation.plans import DEALT, Recipe
from benchmarks.federation.predictions import EF_R2, STENOSIS_AUC, Measure, Predictions
from benchmarks.federation.questions import BARS, contrasts
from echofm_core.evaluation.score import ALL_SITES
from simulations.study.variations import variations

FILE = KEPT / "federation.json"
#: Seeds without which nothing is judged.
ENOUGH_SEEDS = 3
SCORES = ("fold", "model", "site", "task", "metric", "seed", "value", "patients")
ANSWERS = ("question", "what", "value", "low", "high", "seeds")


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        context: Of what, with what.
        scores: Columns of :data:`SCORES`: a model at a site, or at all of them, with a seed.
        answers: Columns of :data:`ANSWERS`: a contrast, its interval and the number of seeds.
    """

    context: Mapping[str, str]
    scores: pd.DataFrame
    answers: pd.DataFrame

    def save(self, title: str, note: str, table: str, rows: Sequence[Row]) -> None:
        """Keep all figures, and the page to read."""
        keep(FILE, self.context, rows, {"scores": self.scores, "answers": self.answers})
        page = page_of(title, self.context, note, table, rows)
        FILE.with_suffix(".md").write_text(page, encoding="utf-8")


def load_figures() -> Figures:
    """What :meth:`Figures.save` kept."""
    context, tables = kept(FILE)
    return Figures(context=context, scores=tables["scores"], answers=tables["answers"])


def figures_of(found: Predictions, recipe: Recipe, context: Mapping[str, str]) -> Figures:
    """Scores of all models and the answer to every question."""
    asked = contrasts(found, folds_of(recipe), shots_of(recipe))
    answers = []
    for question, contrast in asked.items():
        answer = measured(contrast, found)
        ends = answer.value, answer.low, answer.high
        answers.append((question.value, contrast.what, *ends, len(answer.each)))
    return Figures(
        context=context,
        scores=pd.DataFrame(_scores(found, recipe), columns=list(SCORES)),
        answers=pd.DataFrame(answers, columns=list(ANSWERS)),
    )


def folds_of(recipe: Recipe) -> list[str]:
    """Institutions that are left out, one at a time."""
    plan = recipe.left_out
    return [site for one in variations(plan) for site in one.of(plan).protocol.unseen]


def shots_of(recipe: Recipe) -> tuple[int, int]:
    """A few patients of an institution that was left out, and all that it has to train on."""
    _, few, every = recipe.left_out.evaluation.few_shot
    return few, every


def rows_of(figures: Figures, *, judge: bool) -> list[Row]:
    """Each answer, and the end of its interval that is held to a bar.

    A question without an answer misses its bar.

    Args:
        figures: All there are.
        judge: Whether they are of the whole benchmark.
    """
    answers = {str(row["question"]): row for row in figures.answers.to_dict("records")}
    rows = []
    for question, (end, least) in BARS.items():
        bar = Bar("at least", least) if judge else None
        if question.value not in answers:
            rows += [Row(f"{question.value}: not measured", float("nan"), bar=bar)] * judge
            continue
        answer = answers[question.value]
        held = bar if int(answer["seeds"]) >= ENOUGH_SEEDS else None
        rows.append(Row(str(answer["what"]), float(answer["value"])))
        rows.append(Row(f"  its interval: {end} end", float(answer[end]), bar=held))
    return rows


def _scores(found: Predictions, recipe: Recipe) -> Iterator[tuple[object, ...]]:
    """EF R2 of every model wherever it was tested, and AUC of stenosis."""
    for fold in (*folds_of(recipe), DEALT):
        for model in found.models(fold):
            for measure in (EF_R2, STENOSIS_AUC):
                sites = found.sites(fold, model, measure.task)
                joint = [ALL_SITES] if fold == DEALT and sites else []
                for site in (*joint, *sites):
                    yield from _score(found, fold, model, site, measure)


def _score(
    found: Predictions, fold: str, model: str, site: str, measure: Measure
) -> Iterator[tuple[object, ...]]:
    patients = found.patients(fold, model, site, measure.task)
    for seed, value in found.each(fold, model, site, measure).items():
        yield fold, model, site, measure.task.value, measure.metric, seed, value, patients
