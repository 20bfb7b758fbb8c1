"""What the federation benchmark asks, each a contrast of models, and the bars of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from benchmarks.federation.contrast import Contrast, Term
from benchmarks.federation.plans import DEALT
from benchmarks.federation.predictions import EF_R2, STENOSIS_AUC, Predictions, few_shot_name
from echofm_core.evaluation.model_names import FLOOR, LOCAL, POOLED
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.study import Training
from echofm_core.tasks import Task

FEDAVG = Aggregation.FEDAVG.value
#: Models that a site may have, of which the best is held against FedAvg's.
METHODS = (FEDAVG, POOLED, Training.ENSEMBLE.value, Training.LOCAL.value, FLOOR)
#: Share of the R2 of pooled data, and R2 below a site's best, that are conceded.
SHARE, CONCEDED = 0.9, 0.1


class Question(StrEnum):
    """What is asked."""

    SINGLE = "single"
    POOLED = "pooled"
    FLOOR = "floor"
    WORST = "worst"
    DEALT = "dealt"
    FEW_SHOT = "few_shot"
    STENOSIS = "stenosis"


class Held(NamedTuple):
    """Which end of an interval is held to what.

    What is claimed must be shown, so that the low end counts; of what is only not to be worse, the
    opposite must not be shown, so that the high end does.
    """

    end: Literal["low", "high"]
    least: float


BARS = {
    Question.SINGLE: Held("low", 0.0),
    Question.POOLED: Held("low", 0.0),
    Question.FLOOR: Held("low", 0.0),
    Question.WORST: Held("low", -CONCEDED),
    Question.DEALT: Held("high", 0.0),
    Question.FEW_SHOT: Held("low", 0.0),
    Question.STENOSIS: Held("high", 0.0),
}


def contrasts(
    found: Predictions, folds: Sequence[str], shots: tuple[int, int]
) -> dict[Question, Contrast]:
    """Every question, of predictions that have all models.

    Args:
        found: Of both studies.
        folds: Institutions that were left out.
        shots: A few patients of one of these, and all that it has to train on.
    """
    asked: dict[Question, Callable[[], Contrast]] = {
        Question.SINGLE: lambda: _beside_single(found, folds),
        Question.POOLED: lambda: _beside(folds, POOLED, SHARE),
        Question.FLOOR: lambda: _beside(folds, FLOOR, 1.0),
        Question.WORST: lambda: _worst(found, folds),
        Question.DEALT: lambda: _dealt(found),
        Question.FEW_SHOT: lambda: _few_shot(found, folds, shots),
        Question.STENOSIS: lambda: _stenosis(found, folds),
    }
    return {question: contrast() for question, contrast in asked.items()}


def _beside(folds: Sequence[str], model: str, share: float) -> Contrast:
    name = f"{share:g} of {model}" if share != 1 else model
    return Contrast(
        what=f"EF R2 where left out: FedAvg less {name}",
        measure=EF_R2,
        parts={fold: (Term(fold, FEDAVG, 1.0), Term(fold, model, -share)) for fold in folds},
    )


def _beside_single(found: Predictions, folds: Sequence[str]) -> Contrast:
    """The best single site is chosen by what it reaches at the very patients of the test."""
    best = {fold: _best(found, fold, _singles(found, fold), fold) for fold in folds}
    names = ", ".join(f"{name.removeprefix(LOCAL)} for {fold}" for fold, name in best.items())
    return Contrast(
        what=f"EF R2 where left out: FedAvg less the best single site ({names})",
        measure=EF_R2,
        parts={f: (Term(f, FEDAVG, 1.0), Term(f, name, -1.0)) for f, name in best.items()},
    )


def _worst(found: Predictions, folds: Sequence[str]) -> Contrast:
    """At the training site where FedAvg is worst, its model less the best of all."""
    where = {site: trained for site in ef_sites(found, folds)
             if (trained := [fold for fold in folds if fold != site])}  # fmt: skip

    def reached(site: str, model: str) -> float:
        return sum(found.mean(f, model, site, EF_R2) for f in where[site]) / len(where[site])

    worst = min(where, key=lambda site: reached(site, FEDAVG))
    best = max(METHODS, key=lambda model: reached(worst, model))
    share = 1 / len(where[worst])
    return Contrast(
        what=f"EF R2 at the worst site that trains ({worst}): FedAvg less its best ({best})",
        measure=EF_R2,
        parts={
            worst: [
                term
                for fold in where[worst]
                for term in (Term(fold, FEDAVG, share), Term(fold, best, -share))
            ]
        },
    )


def _dealt(found: Predictions) -> Contrast:
    rules = [Aggregation.FEDPROX.value, Aggregation.SCAFFOLD.value]
    best = _best(found, DEALT, rules, ALL_SITES)
    return Contrast(
        what=f"EF R2, patients dealt by label: {best} less FedAvg",
        measure=EF_R2,
        parts={ALL_SITES: (Term(DEALT, best, 1.0), Term(DEALT, FEDAVG, -1.0))},
    )


def _few_shot(found: Predictions, folds: Sequence[str], shots: tuple[int, int]) -> Contrast:
    """Trained there is the better of that site alone and of FedAvg fine-tuned on all it has.

    That site alone was trained while another was left out, on the same patients.
    """
    few, every = shots
    parts, names = {}, []
    for fold in folds:
        other = next(name for name in folds if name != fold)
        there = {
            "alone": Term(other, f"{LOCAL}{fold}", -0.5),
            f"fine-tuned on {every}": Term(fold, few_shot_name(every), -0.5),
        }
        name = max(there, key=lambda n: found.mean(there[n].fold, there[n].model, fold, EF_R2))
        names.append(f"{fold} {name}")
        few_term, none = Term(fold, few_shot_name(few), 1.0), Term(fold, FEDAVG, -0.5)
        parts[fold] = (few_term, none, there[name])
    return Contrast(
        what=f"EF R2 where left out: FedAvg fine-tuned on {few} patients there, less midway "
        f"between none and training there ({', '.join(names)})",
        measure=EF_R2,
        parts=parts,
    )


def _stenosis(found: Predictions, folds: Sequence[str]) -> Contrast:
    (site,) = found.sites(folds[0], FEDAVG, Task.AS_GRADE)
    share = 1 / len(folds)
    return Contrast(
        what=f"AS macro AUC at {site}: FedAvg less alone",
        measure=STENOSIS_AUC,
        parts={
            site: [
                term
                for fold in folds
                for term in (Term(fold, FEDAVG, share), Term(fold, f"{LOCAL}{site}", -share))
            ]
        },
    )


def ef_sites(found: Predictions, folds: Sequence[str]) -> list[str]:
    """Institutions with EF, by name."""
    return sorted({site for fold in folds for site in found.sites(fold, FEDAVG, Task.EF)})


def _singles(found: Predictions, fold: str) -> list[str]:
    """Single sites' models that were tested for EF where a fold left out."""
    return [
        model
        for model in found.models(fold)
        if model.startswith(LOCAL) and fold in found.sites(fold, model, Task.EF)
    ]


def _best(found: Predictions, fold: str, models: Sequence[str], site: str) -> str:
    return max(models, key=lambda model: found.mean(fold, model, site, EF_R2))
