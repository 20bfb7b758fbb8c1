"""The benchmark of false alarms: what it counts, by hand, and that an alarm is one."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks._kept import KEPT
from benchmarks.verdict import METRICS, SITES, alone, by_percentiles, drawn, most, together
from echofm_core.evaluation.bootstrap import PairedDraws, difference
from echofm_core.evaluation.config import EvaluationConfig

PAGE = Path(__file__).parents[2] / "docs/explanation/verdict.md"
METRIC = {"MAE": "mae", "R²": "r2", "AUC of reduced EF": "reduced_auc"}


def test_the_page_shows_the_figures_that_are_kept() -> None:
    kept = dict(re.findall(r"^(\S.*?) {2,}([\d.]+) ", (KEPT / "verdict.md").read_text(), re.M))
    shown = re.findall(
        r"^\| (.+?) \| (.+?) \| (0\.\d{3}) \| (0\.\d{3}) \|$", PAGE.read_text(), re.M
    )
    assert len(shown) == 6
    for patients, metric, percentiles, ours in shown:
        what = f"{patients} patients, {METRIC[metric]}: p below 0.005"
        assert f"{float(kept[what]):.3f}" == ours
        assert f"{float(kept[f'{what}, percentiles']):.3f}" == percentiles
    sites = re.findall(r"^\| ([^|]+?) \| (0\.\d{3}) \| (0\.\d{3}) \|$", PAGE.read_text(), re.M)
    assert {words for words, *_ in sites} == set(SITES)
    for words, apart, warned in sites:
        assert f"{float(kept[f'{words}: told apart in the mean']):.3f}" == apart
        assert f"{float(kept[f'{words}: warned of the worst site']):.3f}" == warned


def test_percentiles_count_the_rarer_side_twice() -> None:
    """Of four draws one is below zero: 2 x 1/4; one that is not defined counts for none."""
    first = np.array([1.0, 3.0, 3.0, 3.0, np.nan])
    found = PairedDraws((3.0, 2.0), first, np.full(5, 2.0), 12)
    assert by_percentiles(found) == 0.5


def test_the_bar_is_what_chance_hardly_exceeds() -> None:
    """Of 400 at 0.005: beyond 9 with 4.3e-5 (binomial), beyond 8 with 2.2e-4."""
    assert most(0.005, 400).limit == 9 / 400


def test_every_metric_and_every_group_of_sites_has_rows() -> None:
    rng = np.random.default_rng(0)
    rows = list(alone(12, 4, rng))
    assert len(rows) == 2 * len(METRICS[12]) and all(0 <= row.ours <= 1 for row in rows)
    words, sites = next(iter(SITES.items()))
    apart, warned = together(words, sites, 4, rng)
    assert apart.bar == most(0.05, 4) and warned.bar == most(0.025, 4)


def test_models_that_differ_are_told_apart() -> None:
    """So an alarm is the test's, and not left out: errors three times as large, 200 patients."""
    rng, config = np.random.default_rng(0), EvaluationConfig(bootstrap=100)
    good, bad = (drawn(200, times, config, rng)["mae"] for times in (1.0, 3.0))
    apart = PairedDraws((good.values[0], bad.values[0]), good.first, bad.first, 200)
    assert difference(apart, config).p == pytest.approx(0, abs=1e-6)
