"""Histograms of what clips are like: a row a data set, a column a quantity."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from echofm_core.data.doctor.count import REDUCED_EF
from echofm_core.pages.style import BLUE, GREY, INK, ORANGE, Chart, look, svg_uri

BINS = 32
#: Where the top percent of the clips lies beyond this many times the rest, it is one last bar.
TAIL = 1.6
#: Height of a panel over its highest bar: room for the number of clips.
HEADROOM = 1.45
#: Inches.
WIDTH, ROW, HEAD = 10.6, 0.62, 0.75


@dataclass(frozen=True, slots=True)
class Column:
    """One quantity of the figure; its axis goes from zero to ``high`` where that is set."""

    name: str
    title: str
    high: float | None = None


COLUMNS = (
    Column("ef", "EF (%)", 100.0),
    Column("fps", "frame rate (Hz)"),
    Column("seconds", "duration (s)"),
    Column("grey", "mean grey level in the sector"),
)


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
        for place, column in enumerate(COLUMNS):
            edges, cut = _edges(values[column.name], column.high)
            title = f"{column.title}{', last bar: and over' if cut else ''}"
            for name, axis in zip(names, grid[:, place], strict=True):
                _bars(axis, values.loc[values["dataset"] == name, column.name], edges)
            grid[0, place].set_title(title, fontsize=9)
            grid[-1, place].tick_params(labelbottom=True)
        for name, axis in zip(names, grid[:, 0], strict=True):
            axis.axvline(REDUCED_EF, color=INK, linewidth=0.9, linestyle=":")
            axis.set_ylabel(
                name, rotation=0, horizontalalignment="right", verticalalignment="center"
            )
        if synthetic:
            figure.supxlabel("SYNTHETIC", color=ORANGE, fontsize=9, fontweight="bold")
        words = f"histograms of {', '.join(column.title for column in COLUMNS)} for {names}"
        return Chart(uri=svg_uri(figure), words=words)


def _bars(axis: Axes, values: pd.Series, edges: np.ndarray) -> None:
    known = values.to_numpy(dtype=float)
    known = known[np.isfinite(known)]
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


def _edges(values: pd.Series, high: float | None) -> tuple[np.ndarray, bool]:
    """Common bins of all data sets, and whether the last holds a far tail."""
    known = values.to_numpy(dtype=float)
    known = known[np.isfinite(known)]
    if high is not None or not len(known):
        return np.linspace(0, high or 1.0, BINS + 1), False
    top, most = float(known.max()), float(np.percentile(known, 99))
    cut = top > TAIL * most > 0
    return np.linspace(0, (most if cut else top) * 1.04 or 1.0, BINS + 1), cut
