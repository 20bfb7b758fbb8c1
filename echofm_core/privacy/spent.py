"""What privacy each site has spent, from the numbers that it sent with its rounds."""

from __future__ import annotations

from typing import Any

import pandas as pd


def spent(metrics: pd.DataFrame, delta: float) -> list[dict[str, Any]]:
    """One row a site; empty where nothing was private.

    Args:
        metrics: Columns site, metric, value among others; ``epsilon`` grows over the rounds.
        delta: Of the plan.
    """
    table = metrics.pivot_table(index="site", columns="metric", values="value", aggfunc="max")
    if "epsilon" not in table:
        return []
    return [
        {
            "site": str(site),
            "epsilon": float(row["epsilon"]),
            "delta": delta,
            "noise_multiplier": float(row.get("noise_multiplier", float("nan"))),
        }
        for site, row in table[table["epsilon"].notna()].iterrows()
    ]
