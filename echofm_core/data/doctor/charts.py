"""Histograms of what clips are like: a row a data set, a column a quantity."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echofm_core.data.doctor.count import REDUCED_EF
from echofm_core.pages.chart import Chart
from echofm_core.pages.style import BLUE, GREY, INK, ORANGE, look, svg_uri

BINS = 32
#: Where the top percent of the clips lies beyond this many times the rest, it is one last bar.
TAIL = 1.6
#: Height of a panel over its highest bar: room for the number of clips.
HEADROOM = 1.45
#: Inches.
WIDTH, ROW, HEAD = 10.6, 0.62, 0.75


#: Quantity -> title; and the end of its axis, which begins at zero, where that is known.
COLUMNS = {
    "ef": "EF (%)",
    "fps": "frame rate (Hz)",
    "seconds": "duration (s)",
    "grey": "mean grey level in the sector",
}
HIGHEST = {"ef": 100.0}


def histograms(values: pd.DataFrame, *, synthetic: bool) -> Chart | None:
    """EF, frame rate, duration and grey level of each data set, on common axes.

    Args:
        values: Of :func:`echofm_core.data.doctor.count.quantities`.
        synthetic: Say so on the picture.

    Returns:
        None without any clip.
    """
    names = sorted(values["dataset"].unique())
    if not names:
        return None
    with look():
        height = HEAD + ROW * len(names)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        grid = figure.subplots(len(names), len(COLUMNS), squeeze=False, sharex="col")
        for axes, (column, title) in zip(grid.T, COLUMNS.items(), strict=True):
            edges, cut = _edges(_known(values[column]), HIGHEST.get(column))
            for name, axis in zip(names, axes, strict=True):
                _bars(axis, _known(values.loc[values["dataset"] == name, column]), edges)
            axes[0].set_title(f"{title}{', last bar: and over' if cut else ''}", fontsize=9)
            axes[-1].tick_params(labelbottom=True)
        for name, axis in zip(names, grid[:, 0], strict=True):
            axis.axvline(REDUCED_EF, color=INK, linewidth=0.9, linestyle=":")
            axis.set_ylabel(
                name, rotation=0, horizontalalignment="right", verticalalignment="center"
            )
        if synthetic:
            figure.supxlabel("SYNTHETIC", color=ORANGE, fontsize=9, fontweight="bold")
        words = f"histograms of {', '.join(COLUMNS.values())} for {names}"
        return Chart(uri=svg_uri(figure), words=words)


def _known(values: pd.Series) -> np.ndarray:
    every = values.to_numpy(dtype=float)
    return np.asarray(every[np.isfinite(every)])


def _bars(axis: Axes, known: np.ndarray, edges: np.ndarray) -> None:
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
    axis.stairs(counts, edges, fill=True, color=BLUE, linewidth=0)
    axis.set(yticks=[], xlim=(edges[0], edges[-1]), ylim=(0, HEADROOM * max(1, counts.max())))
    axis.grid(axis="y", visible=False)
    axis.spines["left"].set_visible(False)
    note = f"n = {len(known):,}" if len(known) else "none known"
    axis.text(
        0.99, 0.94, note, transform=axis.transAxes, fontsize=7.5, color=GREY,
        horizontalalignment="right", verticalalignment="top",
    )  # fmt: skip


def _edges(known: np.ndarray, high: float | None) -> tuple[np.ndarray, bool]:
    """Common bins of all data sets, and whether the last holds a far tail."""
    if high is not None or not len(known):
        return np.linspace(0, high or 1.0, BINS + 1), False
    top, most = float(known.max()), float(np.percentile(known, 99))
    cut = top > TAIL * most > 0
    return np.linspace(0, (most if cut else top) * 1.04 or 1.0, BINS + 1), cut
