"""One table of all variations of a study (``study.vary``): a row a method and combination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.pages.grid import Grid
from echofm_core.report.study_table import TABLE_COLUMNS, grids


def varied_table(tables: Sequence[tuple[Mapping[str, str], pd.DataFrame]]) -> pd.DataFrame:
    """The tables of a protocol's variations as one, method by method.

    Args:
        tables: Of each variation, in the study's order: its values by key, and its table of
            methods (columns ``TABLE_COLUMNS``).

    Returns:
        A column a varied key, then ``TABLE_COLUMNS``.
    """
    whole = pd.concat([table.assign(**words) for words, table in tables], ignore_index=True)
    keys = [name for name in whole if name not in TABLE_COLUMNS]
    order = {name: number for number, name in enumerate(dict.fromkeys(whole["method"]))}
    rows = whole.sort_values("method", key=lambda names: names.map(order), kind="stable")
    return rows[[*keys, *TABLE_COLUMNS]].reset_index(drop=True)


def varied_grids(
    tables: Sequence[tuple[Mapping[str, str], pd.DataFrame]], metrics: Sequence[ReportedMetric]
) -> dict[ReportedMetric, Grid]:
    """That table as printable grids, one a metric; empty where nothing is varied."""
    if not tables or not tables[0][0]:
        return {}
    return grids(varied_table(tables), list(metrics))
