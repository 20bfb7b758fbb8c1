"""The figures of the federation benchmark as text: by who was left out, by site, and answers."""

from __future__ import annotations

from statistics import fmean

import pandas as pd

from benchmarks.federation.figures import Figures
from benchmarks.federation.plans import DEALT
from benchmarks.federation.questions import METHODS
from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.tasks import Task

#: Longest name of a model, and more.
WIDTH = 36


def table_of(figures: Figures) -> str:
    """Every part that there are figures of."""
    ef = figures.scores[figures.scores["task"] == Task.EF]
    grades = figures.scores[figures.scores["task"] == Task.AS_GRADE]
    lines: list[str] = []
    for fold in dict.fromkeys(ef["fold"]):
        here = ef[(ef["fold"] == fold) & (ef["site"] == (ALL_SITES if fold == DEALT else fold))]
        where = "patients dealt by label, all sites" if fold == DEALT else f"{fold}, left out"
        lines += [f"EF R2 at {where} ({here['patients'].max():g} patients): mean; each seed"]
        lines += [*_models(here), ""]
    lines += ["EF R2 of the sites that train, mean over seeds and over who was left out"]
    lines += [*_sites(ef[(ef["fold"] != DEALT) & (ef["fold"] != ef["site"])]), ""]
    for fold, rows in grades.groupby("fold", sort=False):
        lines += [
            f"AS macro AUC ({rows['patients'].max():g} patients), without {fold}",
            *_models(rows),
            "",
        ]
    return "\n".join([*lines, *_answers(figures.answers)])


def _models(rows: pd.DataFrame) -> list[str]:
    """One line a model, the best first; models with the same values are one, under all names."""
    names: dict[tuple[float, ...], list[str]] = {}
    for model, own in rows.groupby("model", sort=False):
        values = tuple(own.sort_values("seed")["value"])
        names.setdefault(values, []).append(model_title(str(model)))
    lines = []
    for values in sorted(names, key=fmean, reverse=True):
        each = " ".join(f"{value:6.3f}" for value in values)
        lines.append(f"  {', '.join(names[values]):{WIDTH}}{fmean(values):7.3f}   {each}")
    return lines


def _sites(rows: pd.DataFrame) -> list[str]:
    """One line a site, the worst of the first method first; a column a method."""
    means = rows[rows["model"].isin(METHODS)].groupby(["site", "model"])["value"].mean().unstack()
    means = means.reindex(columns=[model for model in METHODS if model in means])
    head = "".join(f"{model_title(str(model)):>20}" for model in means.columns)
    lines = [f"  {'':14}{head}"]
    for site, values in means.sort_values(str(means.columns[0])).iterrows():
        lines.append(f"  {site:14}" + "".join(f"{value:20.3f}" for value in values))
    return lines


def _answers(answers: pd.DataFrame) -> list[str]:
    """Contrasts with their intervals."""
    lines = ["Differences: mean over seeds, 95 % interval over seeds and patients"]
    for answer in answers.to_dict("records"):
        ends = f"{answer['value']:+.3f} [{answer['low']:+.3f}, {answer['high']:+.3f}]"
        lines.append(f"  {ends}  {answer['what']}")
    return lines
