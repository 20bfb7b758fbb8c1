"""A chart on a page: its picture, the words for it, its values on hover and its data to save."""

import base64
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from echofm_core.pages.style import svg_uri


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A picture with the words that stand for it where it cannot be seen.

    Attributes:
        uri: ``data:`` address of the picture.
        words: What it shows.
        name: File name of its data, without ending.
        csv: ``data:`` address of its data; empty: there is nothing to save.
        marks: Values to show on hover, as :func:`marks` writes them; may be empty.
    """

    uri: str
    words: str
    name: str = ""
    csv: str = ""
    marks: str = ""


def chart(figure: Figure, words: str, name: str, data: pd.DataFrame) -> Chart:
    """A figure as a chart with the data that it was drawn from."""
    uri = svg_uri(figure)  # settles where the axes are
    return Chart(uri=uri, words=words, name=name, csv=csv_uri(data), marks=marks(figure))


def csv_uri(data: pd.DataFrame) -> str:
    """A frame as the ``data:`` address of a CSV file; its index is no column."""
    content = base64.b64encode(data.to_csv(index=False).encode()).decode()
    return f"data:text/csv;charset=utf-8;base64,{content}"


def marks(figure: Figure) -> str:
    """The points of a drawn figure, as JSON that ``hover.js`` reads.

    Lines and scatters with a label count; guides (``axhline`` and the like) have none.

    Returns:
        A list of panels: ``title``; ``box``, which is left, top, width and height as shares of the
        picture; ``x`` and ``y``, with ``label`` and ``limits``, and of ``x`` whether its scale is
        logarithmic (``log``); ``lines``, each a name and the x and y of its points.
    """
    panels = [panel for axis in figure.axes if (panel := _panel(axis))["lines"]]
    return json.dumps(panels, ensure_ascii=False, separators=(",", ":"))


def _panel(axis: Axes) -> dict[str, Any]:
    box = axis.get_position()
    return {
        "title": axis.get_title(loc="left"),
        "box": _rounded((box.x0, 1 - box.y1, box.width, box.height)),
        "x": {
            "label": axis.get_xlabel(),
            "limits": _rounded(axis.get_xlim()),
            "log": axis.get_xscale() == "log",
        },
        "y": {"label": axis.get_ylabel(), "limits": _rounded(axis.get_ylim())},
        "lines": _lines(axis),
    }


def _lines(axis: Axes) -> list[tuple[str, list[float], list[float]]]:
    names = {
        bars.lines[0]: str(bars.get_label())
        for bars in axis.containers
        if isinstance(bars, ErrorbarContainer)
    }
    found = [
        (names.get(line, str(line.get_label())), np.asarray(line.get_xydata(), dtype=float))
        for line in axis.lines
    ]
    found += [
        (str(points.get_label()), np.asarray(points.get_offsets(), dtype=float))
        for points in axis.collections
        if isinstance(points, PathCollection)
    ]
    named = [(name, points[np.isfinite(points).all(axis=1)]) for name, points in found]
    return [
        (name, _rounded(points[:, 0]), _rounded(points[:, 1]))
        for name, points in named
        if len(points) and not name.startswith("_")
    ]


def _rounded(values: ArrayLike) -> list[float]:
    """To four digits: enough to read, and a third of the bytes."""
    return [float(f"{value:.4g}") for value in np.asarray(values, dtype=float)]
