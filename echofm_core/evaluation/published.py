"""Reduced EF as the published tables count it."""

from __future__ import annotations

import math

import pandas as pd

from echofm_core.evaluation.cells import site_order
from echofm_core.evaluation.model_names import FEDERATED

_METRICS = ("accuracy", "f1_negative", "all_negative_accuracy", "all_negative_f1")


def published_convention(scores: pd.DataFrame) -> list[str]:
    """Reduced EF of the federated model as the published tables count it, beside the baseline.

    There, positive means a normal EF, so that saying "normal" to everybody already scores well
    (reference: Echo-Vision-FM, abstract; released code).
    """
    rows = scores[(scores["task"] == "reduced_ef") & (scores["model"] == FEDERATED)]
    lines = []
    for site in site_order(rows):
        of_site = rows[rows["site"] == site].set_index("metric")["value"]
        value = {name: float(of_site.get(name, math.nan)) for name in _METRICS}
        lines.append(
            f"published convention (positive = normal EF), {site}: "
            f"accuracy {value['accuracy']:.2f}, F1 {value['f1_negative']:.2f}; "
            f"calling everybody normal: accuracy {value['all_negative_accuracy']:.2f}, "
            f"F1 {value['all_negative_f1']:.2f}."
        )
    return lines
