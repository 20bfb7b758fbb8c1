"""A round of the journal as a tracker sees it: one number a metric over all sites, no site by name.

Each site's own numbers are in the journal and in ``metrics.parquet``, which stay in the run folder;
a tracker may be a server that others read.
"""

from __future__ import annotations

from collections.abc import Mapping

from echofm_core.contract import HEADS, VALIDATION
from echofm_core.tracking._api import TrackedRound
from server.journal import Entry, SiteEntry
from server.validation import mean

#: Metrics of the sites that add up, and those of which the largest counts; others are averaged.
SUMMED = frozenset({"steps", "skipped"})
LARGEST = frozenset({"epsilon"})
#: The sites' name for their own wall time, and what its largest is called beside the round's.
SECONDS, SLOWEST = "seconds", "slowest_site_seconds"


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
