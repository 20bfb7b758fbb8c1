"""A chart's values on hover are those that are drawn, where they are drawn; its data are whole."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest

from echofm_core.pages.chart import chart
from echofm_core.pages.style import look, panels

DATA = pd.DataFrame({"round": [1, 2], "loss": [0.123456789, 0.5]})


def drawn():
    with look():
        figure, (left, right) = panels(2, width=6.0, height=3.0)
        left.plot([1, 2, 3], [0.123456, np.nan, 0.5], label="camus")
        left.axhline(0.3)
        left.plot((0, 1), (0, 1))
        left.set(title="Loss", xlabel="round", ylabel="loss")
        right.errorbar([0.5], [0.25], yerr=[[0.1], [0.2]], label="federated")
        right.scatter([10.0], [20.0], label="points")
        return figure, left, chart(figure, "words", "name", DATA)


def test_labelled_lines_and_scatters_count_and_guides_do_not() -> None:
    """A value that is not a number is no point; others have four digits."""
    _, _, made = drawn()
    first, second = json.loads(made.marks)
    assert first["title"] == "Loss" and first["x"]["log"] is False
    assert (first["x"]["label"], first["y"]["label"]) == ("round", "loss")
    assert first["lines"] == [["camus", [1.0, 3.0], [0.1235, 0.5]]]
    assert sorted(name for name, *_ in second["lines"]) == ["federated", "points"]


def test_box_and_limits_lead_to_where_matplotlib_draws() -> None:
    """Pixel over size of the figure, its origin below; the page's is above."""
    figure, axis, made = drawn()
    panel = json.loads(made.marks)[0]
    (low, high), (bottom, top) = panel["x"]["limits"], panel["y"]["limits"]
    left, above, width, height = panel["box"]
    share = (
        left + width * (3 - low) / (high - low),
        above + height * (1 - (0.5 - bottom) / (top - bottom)),
    )
    x, y = axis.transData.transform((3, 0.5)) / figure.bbox.size
    assert share == pytest.approx((x, 1 - y), abs=2e-3)


def test_a_logarithmic_axis_leads_to_where_matplotlib_draws() -> None:
    """The share of the axis is that of logarithms, as its attribute tells the page."""
    with look():
        figure, (axis,) = panels(1, width=6.0, height=3.0)
        axis.plot([1.0, 10.0, 100.0], [3.0, 2.0, 1.0], label="fedavg")
        axis.set(xscale="log")
        made = json.loads(chart(figure, "words", "name", DATA).marks)[0]
    assert made["x"]["log"] is True and made["lines"] == [["fedavg", [1, 10, 100], [3, 2, 1]]]
    low, high = np.log(made["x"]["limits"])
    left, _, width, _ = made["box"]
    share = left + width * (np.log(10) - low) / (high - low)
    assert share == pytest.approx(
        axis.transData.transform((10, 2))[0] / figure.bbox.width, abs=2e-3
    )


def test_the_data_are_a_csv_file_with_every_digit() -> None:
    kind, _, content = drawn()[2].csv.partition(";base64,")
    assert kind == "data:text/csv;charset=utf-8"
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(base64.b64decode(content))), DATA)
