"""What each change costs: every reported metric beside its value on the clips as they are."""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.levels import level
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.evaluation.paired import OVER_SITES, compare
from echofm_core.evaluation.reported import reported_metric
from echofm_core.evaluation.score import MEAN_UNSEEN, WORST_UNSEEN, labelled_tasks, test_sets
from echofm_core.evaluation.score_table import ScoreTable
from echofm_core.evaluation.stress.stressors import UNCHANGED, Setting
from echofm_core.runtime.randomness import stream

#: Name of the file in a run folder.
STRESS = "stress.csv"

#: ``written`` is the strength with its unit. ``loss`` is what the change costs, in the metric's
#: unit, above 0 where the model does worse, with its paired interval over patients. In rows of the
#: worst site ``worst`` names the one that is worst under the change.
STRESS_COLUMNS = (
    "change", "strength", "written", "site", "never_seen", "worst", "task", "metric", "patients",
    "clean", "value", "loss", "low", "high",
)  # fmt: skip

_KEYS = ["site", "task", "metric"]


def stress_table(
    predictions: Mapping[Setting, pd.DataFrame],
    config: EvaluationConfig,
    seed: int,
    threshold: float,
    unseen: Collection[str] = (),
) -> pd.DataFrame:
    """Score a model's predictions under every setting against those without a change.

    Args:
        predictions: Setting -> rows of :func:`echofm_core.training.predict.predict` of the same
            clips; the clips as they are among them.
        config: Resamples, coverage, and fewest patients of a site that counts for mean and worst.
        seed: Draws the patients.
        threshold: EF in percent below which it is reduced.
        unseen: Sites that no model trained on.

    Returns:
        Columns :data:`STRESS_COLUMNS`: of each setting every site and, where several count, their
        mean and the worst of them. Without a change the loss is 0 and has no interval.
    """
    single = pd.concat(
        _values(rows, threshold, unseen).assign(model=_name(setting))
        for setting, rows in predictions.items()
    )
    joint = _joint(ScoreTable(single, config.min_patients, unseen))
    values = pd.concat([single.assign(worst=""), joint])[["model", *_KEYS, "value", "worst"]]
    of_model, clean = dict(list(values.groupby("model"))), predictions[UNCHANGED]
    before = of_model[_name(UNCHANGED)].rename(columns={"value": "clean"})[[*_KEYS, "clean"]]
    parts = []
    for setting, rows in predictions.items():
        rng = stream(seed, "", 0, "bootstrap.paired")  # the same patients under every setting
        found = _losses(compare(rows, clean, config, rng, threshold, unseen))
        if setting == UNCHANGED:
            found[["low", "high"]] = np.nan
        found = found.merge(before, on=_KEYS).merge(of_model[_name(setting)], on=_KEYS)
        name, strength = setting.stressor.name, setting.strength
        parts.append(found.assign(change=name, strength=strength, written=setting.words))
    table = pd.concat(parts, ignore_index=True)
    table["never_seen"] = table["site"].isin([*unseen, MEAN_UNSEEN, WORST_UNSEEN])
    return table[list(STRESS_COLUMNS)]


def _values(rows: pd.DataFrame, threshold: float, unseen: Collection[str]) -> pd.DataFrame:
    """Every reported metric at every site, as it is scored without a change."""
    found = [
        (site, task.value, metric, float(value[0]), np.nan, np.nan, cases.patient_count)
        for task, everywhere in labelled_tasks(rows)
        for site, cases in test_sets(everywhere, unseen).items()
        for metric, value in task_metrics(
            task, cases.truth, cases.prediction, np.ones((1, len(cases.truth))), threshold
        ).items()
        if reported_metric(task.value, metric)
    ]
    return pd.DataFrame(found, columns=[*_KEYS, "value", "low", "high", "patients"])


def _joint(scores: ScoreTable) -> pd.DataFrame:
    """Mean over sites and worst site, over the sites that can be judged, of each setting."""
    rows = [
        (name, site, metric.task.value, metric.metric, *number)
        for name in scores.models
        for metric in scores.metrics
        for sites, never in OVER_SITES
        if len((across := level(scores, name, metric, never_seen=never)).sites) > 1
        for site, number in zip(
            sites,
            ((across.mean, ""), (across.sites[across.worst].value, across.worst)),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=["model", *_KEYS, "value", "worst"])


def _losses(found: pd.DataFrame) -> pd.DataFrame:
    """Differences of metrics that have a table, turned so that above 0 is worse."""
    pairs = zip(found["task"], found["metric"], strict=True)
    metrics = [reported_metric(*pair) for pair in pairs]
    found = found.rename(columns={"value": "loss"})[[item is not None for item in metrics]]
    better = np.array([not item.lower_is_better for item in metrics if item], dtype=bool)
    ends = found[["loss", "high", "low"]].to_numpy(float)
    found.loc[better, ["loss", "low", "high"]] = 0.0 - ends[better]  # 0 stays 0
    return found


def _name(setting: Setting) -> str:
    return f"{setting.stressor.name} {setting.strength:g}"
