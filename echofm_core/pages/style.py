"""How charts look on a page: system fonts, hair lines, colours that colour-blind readers part.

Colours are Okabe and Ito's.
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#a8568a"
SKY, AMBER, INK, GREY = "#56b4e9", "#c98a00", "#1f2933", "#8a94a0"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, INK, GREY)
DASHES = ("-", "--", "-.", ":")

_LOOK: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e8ed",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "svg.hashsalt": "echofm",  # the same data give the same page, byte for byte
    "svg.fonttype": "path",
}


@contextmanager
def look() -> Iterator[None]:
    """The pages' chart style, for the time of the block."""
    with mpl.rc_context(_LOOK):
        yield


def panels(columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of one row of axes.

    Args:
        columns: How many.
        width: Of the whole figure, in inches; the page is 11 wide.
        height: Likewise.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def square_panels(count: int, *, most: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of so many square axes, in rows of at most ``most``."""
    columns = min(count, most)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.5 * columns, 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.remove()
    return figure, list(axes[:count])


def svg_uri(figure: Figure) -> str:
    """The figure as a ``data:`` address that an ``img`` tag can show."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_uri(buffer.getvalue(), "svg+xml")


def data_uri(content: bytes, kind: str = "png") -> str:
    """The bytes of a picture of a kind as a ``data:`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def line_style(number: int) -> dict[str, Any]:
    """Colour of the n-th line, and a dash that parts it without colour."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "linestyle": DASHES[(number // len(PALETTE) + number) % len(DASHES)],
    }
