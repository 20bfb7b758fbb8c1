"""The run's numbers: as one long table, and as a tracker sees a round.

A tracker may be a server that others read: it gets one number a metric over all sites, and no site
by name. Each site's own numbers are in the journal and in ``metrics.parquet``, which stay in the
run folder.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from echofm_core.contract import HEADS, VALIDATION, Scored, SiteResult
from echofm_core.tracking._api import TrackedRound
from server.journal import BYTES_DOWN, BYTES_UP, Entry, SiteEntry
from server.validation import mean

#: Metrics of the sites that add up, and those of which the largest counts; others are averaged.
SUMMED = frozenset({"steps", "skipped", BYTES_DOWN, BYTES_UP})
LARGEST = frozenset({"epsilon"})
#: The sites' name for their own wall time, and what its largest is called beside the round's.
SECONDS, SLOWEST = "seconds", "slowest_site_seconds"

COLUMNS = ["arm", "phase", "round", "site", "metric", "value"]

Row = tuple[str, str, int, str, str, float]


def metrics_table(
    arm: str, entries: Sequence[Entry], results: Sequence[SiteResult]
) -> pd.DataFrame:
    """Columns arm (the model's name), phase, round, site, metric, value.

    Args:
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


def tracked(entry: Entry) -> TrackedRound:
    """Sites that counted, clips behind the round, its wall time, and the sites' metrics as one.

    Means are weighted by clips, a task's loss by the clips with that label.
    """
    parts = list(entry.sites.values())
    names = sorted({name for part in parts for name in part.metrics})
    metrics = {SLOWEST if name == SECONDS else name: _over_sites(name, parts) for name in names}
    return TrackedRound(
        phase=entry.phase,
        round=entry.round,
        metrics={
            **metrics,
            **({VALIDATION: mean(entry.validation)} if entry.validation else {}),
            "seconds": entry.seconds,
            "sites": len(parts),
            "refused": len(entry.refused),
            "clips": sum(_clips(part.counts) for part in parts),
        },
    )


def _over_sites(name: str, parts: list[SiteEntry]) -> float:
    having = [part for part in parts if name in part.metrics]
    values = [part.metrics[name] for part in having]
    if name in SUMMED:
        return sum(values)
    if name in LARGEST or name == SECONDS or len(values) == 1:  # of one site to the bit
        return max(values)
    group = f"{HEADS}.{name.rpartition('/')[2]}"
    weights = [part.counts.get(group, _clips(part.counts)) for part in having]
    pairs = zip(weights, values, strict=True)
    return sum(weight * value for weight, value in pairs) / (sum(weights) or 1)


def _clips(counts: Mapping[str, int]) -> int:
    return max(counts.values(), default=0)
