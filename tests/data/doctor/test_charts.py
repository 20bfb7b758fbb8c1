"""Histograms: what is drawn and said; axes that an outlier does not flatten."""

import base64

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.doctor.charts import histograms
from echofm_core.data.doctor.count import quantities
from tests.data.doctor.made import made, nothing


def svg_of(diagnosis, *, synthetic: bool = False) -> str:
    chart = histograms(quantities(diagnosis.manifest, diagnosis.decoded), synthetic=synthetic)
    assert chart is not None
    head, _, content = chart.uri.partition(",")
    assert head == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def written(svg: str) -> list[str]:
    """Matplotlib notes each text that it draws."""
    return [line.split("<!-- ")[1].split(" -->")[0] for line in svg.splitlines() if "<!-- " in line]


def test_each_panel_says_how_many_clips() -> None:
    """camus: EF of 3, rates and durations of 4, grey of 3; north: no EF, rates and durations of 3,
    grey of 1."""
    texts = written(svg_of(made()))
    assert "camus" in texts and "north" in texts
    notes = sorted(text for text in texts if text.startswith(("n = ", "none")))
    assert notes == ["n = 1", *["n = 3"] * 4, *["n = 4"] * 2, "none known"]
    assert [texts.count(title) for title in ("EF (%)", "frame rate (Hz)", "duration (s)")] == [
        1
    ] * 3


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_is_written_on_it(synthetic: bool) -> None:
    assert ("SYNTHETIC" in written(svg_of(made(), synthetic=synthetic))) is synthetic


def test_a_far_tail_is_one_last_bar() -> None:
    """A thousand clips near 2 s and one of an hour: the axis ends near 2 s and says so."""
    values = pd.DataFrame({"dataset": "a", "seconds": [*np.linspace(1, 2, 1000), 3600.0]})
    for name in ("ef", "fps", "grey"):
        values[name] = np.nan
    chart = histograms(values, synthetic=False)
    texts = written(base64.b64decode(chart.uri.partition(",")[2]).decode())
    assert "duration (s), last bar: and over" in texts
    assert "n = 1,001" in texts and "3500" not in texts


def test_the_same_data_give_the_same_picture() -> None:
    assert svg_of(made()) == svg_of(made())


def test_no_clips_no_picture() -> None:
    empty = nothing()
    assert histograms(quantities(empty.manifest, empty.decoded), synthetic=True) is None
