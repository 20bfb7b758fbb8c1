"""Predictions that are made up, so that every metric is known by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd


def ef_rows(sites: Mapping[str, Sequence[float]], truth: Sequence[float]) -> pd.DataFrame:
    """EF of one patient a value at each site, whose truth is the same at all sites."""
    return pd.concat([_rows(site, "ef", truth, values) for site, values in sites.items()])


def grade_rows(site: str, grades: Sequence[int], right: Sequence[float]) -> pd.DataFrame:
    """Two grades of stenosis: the probability of the second of each patient."""
    rows = _rows(site, "as_grade", list(map(float, grades)), right)
    ones = pd.Series(right, dtype=float)
    return rows.assign(p0=1 - ones, p1=ones, p2=0.0, p3=0.0, p4=0.0)


def _rows(
    site: str, task: str, truth: Sequence[float], prediction: Sequence[float]
) -> pd.DataFrame:
    names = [f"{site}-{number}" for number in range(len(truth))]
    return pd.DataFrame(
        {
            "dataset": "d", "site": site, "task": task, "patient_id": names, "study_id": names,
            "clip_id": names, "view": None, "truth": truth, "prediction": prediction,
        }
    )  # fmt: skip
