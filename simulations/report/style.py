"""How the report's charts look: system fonts, hair lines, colours that colour-blind readers part.

Colours are Okabe and Ito's; the heat map is one hue from pale to dark, so that lightness alone
carries it, in print too.
"""

from __future__ import annotations

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

#: Ends of the heat map: worst and best.
PALE, DARK = (239, 243, 248), (8, 69, 128)

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
    "svg.hashsalt": "echofm",  # the same run gives the same report, byte for byte
    "svg.fonttype": "path",
}


@contextmanager
def look() -> Iterator[None]:
    """The report's chart style, for the time of the block."""
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


def svg_uri(figure: Figure) -> str:
    """The figure as a ``data:`` address that an ``img`` tag can show."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a ``data:`` address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def line_style(number: int) -> dict[str, Any]:
    """Colour of the n-th line, and a dash that parts it without colour."""
    return {
        "color": PALETTE[number % len(PALETTE)],
        "linestyle": DASHES[(number // len(PALETTE) + number) % len(DASHES)],
    }


def shade(goodness: float) -> str:
    """CSS of a heat-map cell.

    Args:
        goodness: 0 worst to 1 best of the table.
    """
    rgb = [round(low + (high - low) * goodness) for low, high in zip(PALE, DARK, strict=True)]
    ink = "#fff" if goodness > 0.6 else INK
    return f"background:rgb({','.join(map(str, rgb))});color:{ink}"
