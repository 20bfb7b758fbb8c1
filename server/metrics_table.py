"""The run's numbers as one long table, made from its journal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from echofm_core.contract import VALIDATION, Scored, SiteResult
from server.journal import Entry

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["arm", "phase", "round", "site", "metric", "value"]

Row = tuple[str, str, int, str, str, float]


def metrics_table(
    arm: str, entries: Sequence[Entry], results: Sequence[SiteResult]
) -> pd.DataFrame:
    """Columns arm, phase, round, site, metric, value.

    Args:
        arm: Name of the model that was trained.
        entries: Rounds; each site gives its metrics and ``clips``, a refused one ``refused`` = 1;
            ``validation`` is of the global model after the round.
        results: Test metrics, as phase ``evaluate``, round 0, e.g. ``ef/mae``.
    """
    rows = [*_round_rows(arm, entries), *_test_rows(arm, results)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    kinds = dict.fromkeys(["arm", "phase", "site", "metric"], "string")
    return frame.astype({**kinds, "round": "int64", "value": "float64"})


def _round_rows(arm: str, entries: Sequence[Entry]) -> Iterator[Row]:
    for entry in entries:
        phase = entry.phase.value
        for site, part in entry.sites.items():
            yield arm, phase, entry.round, site, "clips", float(max(part.counts.values()))
            for metric, value in part.metrics.items():
                yield arm, phase, entry.round, site, metric, float(value)
        for site, loss in entry.validation.items():
            if math.isfinite(loss):
                yield arm, phase, entry.round, site, VALIDATION, loss
        for site in entry.refused:
            yield arm, phase, entry.round, site, "refused", 1.0


def _test_rows(arm: str, results: Sequence[SiteResult]) -> Iterator[Row]:
    """Of the tested model alone; the floor beside it stands in ``scores.parquet``."""
    for result in results:
        for name, score in result.scores.items():
            tested, _, metric = name.partition("/")
            ends = {metric: score.value, f"{metric}/low": score.low, f"{metric}/high": score.high}
            for end, value in ends.items():
                if tested == Scored.MODEL and math.isfinite(value):
                    yield arm, "evaluate", 0, result.site, end, value
        for task, patients in result.patients.items():
            yield arm, "evaluate", 0, result.site, f"{task}/patients", float(patients)
