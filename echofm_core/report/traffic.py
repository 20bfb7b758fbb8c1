"""What crossed the wire, beside what it was worth: bytes of each round and the loss after it."""

import pandas as pd

from echofm_core.contract import VALIDATION
from echofm_core.evaluation.model_names import FEDERATED
from echofm_core.pages.grid import Grid

#: Rounds of a phase that are shown.
ROWS = 12
#: Columns of ``metrics.parquet`` that count bytes, from the server to a site and back.
WAYS = ("bytes_down", "bytes_up")


def traffic(metrics: pd.DataFrame) -> Grid | None:
    """A row a round, of a long phase some evenly: megabytes of the round and so far, and losses.

    Bytes are those of the arrays, at all sites whose update counted; losses are plain means over
    sites.

    Args:
        metrics: Of a run.

    Returns:
        None where no bytes were counted.
    """
    here = metrics[(metrics["arm"] == FEDERATED) & metrics["value"].notna()]
    sizes = here[here["metric"].isin(WAYS)]
    if sizes.empty:
        return None
    keys = ["phase", "round"]
    table = sizes.pivot_table(values="value", index=keys, columns="metric", aggfunc="sum") / 1e6
    table = table.reindex(columns=list(WAYS), fill_value=0.0)
    phases = dict.fromkeys(sizes["phase"])  # in the order of the run
    table = pd.concat([table.loc[[phase]] for phase in phases])
    table["total"] = table.sum(axis=1).cumsum()
    for loss in ("loss", VALIDATION):
        table[loss] = here[here["metric"] == loss].groupby(keys)["value"].mean()
    chosen = [row for phase in phases for row in _evenly(table.loc[[phase]])]
    return Grid(
        columns=(
            *("phase", "round", "MB to sites", "MB from sites", "MB in all so far"),
            *("training loss", "validation loss"),
        ),
        rows=tuple(chosen),
        numbers=frozenset(range(1, 7)),
    )


def _evenly(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """At most ``ROWS`` rows in words, the first and the last among them."""
    last = len(table) - 1
    places = sorted({round(place * last / (ROWS - 1)) for place in range(ROWS)})
    return [
        (
            str(phase), str(number), *(f"{value:,.1f}" for value in row[:3]),
            *("" if pd.isna(value) else f"{value:.4f}" for value in row[3:]),
        )
        for (phase, number), row in ((table.index[at], table.iloc[at].tolist()) for at in places)
    ]  # fmt: skip
