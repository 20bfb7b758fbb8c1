"""EF error by subgroup of patients and recordings, small groups suppressed."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from echofm_core.evaluation.bootstrap import Estimate, bootstrap
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.metrics import regression_metrics
from echofm_core.evaluation.score import study_cases
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

#: Columns of predictions that patients are grouped by.
ATTRIBUTES = ("sex", "age", "quality", "view", "vendor")
#: Ends of the age bands, years; each belongs to the band that begins there.
AGES = (18, 45, 65, 80)
AGE_BANDS = ("under 18", "18 to 44", "45 to 64", "65 to 79", "80 and over")
UNKNOWN = "not recorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class SubgroupError:
    """EF error of one subgroup."""

    attribute: str
    """One of :data:`ATTRIBUTES`."""
    group: str
    patients: int
    """0 where suppressed."""
    mae: Estimate | None
    """Points, over the group's studies; None where suppressed, as the bias."""
    bias: Estimate | None


def subgroup_errors(
    predictions: pd.DataFrame, config: EvaluationConfig, seed: int
) -> list[SubgroupError]:
    """EF error by each attribute that has at least two groups.

    A study counts in a group with those of its clips that belong there: by view, a study with two
    views counts in both. A group of fewer than ``config.min_patients`` patients is named, without
    number or value.

    Args:
        predictions: Rows of :func:`echofm_core.training.predict.predict` of one model; attributes
            that it has no column for are passed over.
        config: Resamples, coverage, and the smallest group.
        seed: Draws the patients.
    """
    rows = predictions[(predictions["task"] == Task.EF.value) & predictions["truth"].notna()]
    found = []
    for attribute in (name for name in ATTRIBUTES if name in rows):
        groups = _groups(rows, attribute)
        names = [*dict.fromkeys(AGE_BANDS if attribute == "age" else sorted(set(groups)))]
        names = [name for name in names if name != UNKNOWN and (groups == name).any()]
        if len(names) < 2:
            continue
        for name in [*names, UNKNOWN] if (groups == UNKNOWN).any() else names:
            found.append(_error(rows[groups == name], attribute, name, config, seed))
    return found


def _groups(rows: pd.DataFrame, attribute: str) -> pd.Series:
    values = rows[attribute]
    if attribute == "age":
        years = values.to_numpy(dtype=np.float64, na_value=np.nan)
        bands = np.array(AGE_BANDS)[np.digitize(years, AGES).clip(0, len(AGES))]
        return pd.Series(np.where(np.isnan(years), UNKNOWN, bands), index=rows.index)
    return values.astype("object").where(values.notna(), UNKNOWN).astype(str)


def _error(
    rows: pd.DataFrame, attribute: str, group: str, config: EvaluationConfig, seed: int
) -> SubgroupError:
    cases = study_cases(rows, Task.EF)
    hidden = SubgroupError(attribute=attribute, group=group, patients=0, mae=None, bias=None)
    if cases.patient_count < config.min_patients or not np.isfinite(cases.prediction).all():
        return hidden
    draws = stream(seed, "", 0, f"bootstrap.subgroup.{attribute}.{group}")
    metrics = partial(regression_metrics, cases.truth, cases.prediction)
    values = bootstrap(metrics, cases.patients, config, draws)
    return SubgroupError(
        attribute=attribute,
        group=group,
        patients=cases.patient_count,
        mae=values["mae"],
        bias=values["bias"],
    )
