"""What the figures of a report are drawn from, as tables: losses, EF agreement, ROC curves.

Predictions are those of studies, as they are scored.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from echofm_core.contract import VALIDATION
from echofm_core.evaluation.ranking import roc_curve
from echofm_core.evaluation.score import study_cases
from echofm_core.tasks import Task


def loss_rows(metrics: pd.DataFrame) -> pd.DataFrame:
    """Training and validation losses of all arms: rows of ``metrics.parquet``."""
    return metrics[metrics["metric"].isin(["loss", VALIDATION])]


def agreement_points(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Site, truth, prediction and model of each test study with an EF."""
    return _joined({model: _points(rows) for model, rows in predictions.items()})


def roc_points(predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Site, false and true positive rate and model: the corners of each curve for reduced EF."""
    return _joined({model: _roc(rows) for model, rows in predictions.items()})


def _joined(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [table.assign(model=model) for model, table in tables.items() if len(table)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    cases = study_cases(rows, Task.EF)
    return cases.table[["site"]].assign(truth=cases.truth, prediction=cases.prediction)


def _roc(rows: pd.DataFrame) -> pd.DataFrame:
    cases, parts = study_cases(rows, Task.REDUCED_EF), []
    for site in sorted(map(str, cases.table["site"].unique())):
        here = cases.at(site)
        positive = here.truth > 0.5
        if positive.any() and not positive.all() and np.isfinite(here.prediction).all():
            false, true = roc_curve(positive, here.prediction)
            rates = {"site": site, "false_positive_rate": false, "true_positive_rate": true}
            parts.append(pd.DataFrame(rates))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
