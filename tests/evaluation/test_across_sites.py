"""Mean over sites and worst site of two models, from draws made by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from echofm_core.evaluation.across_sites import mean_difference, worst_difference
from echofm_core.evaluation.bootstrap import PairedDraws
from echofm_core.evaluation.config import EvaluationConfig

CONFIG = EvaluationConfig()


def site(first: float, second: float, patients: int, spread: float, seed: int) -> PairedDraws:
    """Draws about both values, exact in mean and with the standard deviation ``spread``."""
    noise = stats.zscore(np.random.default_rng(seed).normal(size=200), ddof=1)
    return PairedDraws((first, second), first + spread * noise, np.full(200, second), patients)


def test_the_mean_is_that_of_welch() -> None:
    """Two sites whose draws have the standard errors of two samples' means: mean of both sites'
    differences over its error is half Welch's t of the sum, so p is scipy's for ``a`` against
    ``-b`` with unequal variances."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.6, 1, 12), rng.normal(0.2, 3, 30)
    # Bootstrap errors of a mean are the sample's with n in place of n - 1.
    sites = [
        site(x.mean(), 0.0, len(x), x.std() / len(x) ** 0.5, seed) for seed, x in enumerate((a, b))
    ]
    found = mean_difference(sites, CONFIG)
    welch = stats.ttest_ind(a, -b, equal_var=False)
    assert found.value == pytest.approx((a.mean() + b.mean()) / 2)
    assert found.p == pytest.approx(welch.pvalue)
    ends = welch.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((ends.low / 2, ends.high / 2))


def test_the_worst_site_is_another_of_each_model_and_in_each_draw() -> None:
    """Errors 4 and 6 against 7 and 5: worst are 6 and 7, at different sites. In two draws the
    first has 4, 6 and 8, 5; the second 7, 5 and 6, 9: differences 6 - 7 = -1 and 8 - 9 = -1, so
    that there is no spread; of an AUC the lowest is worst: 4 - 5 and 5 - 6."""
    draws = [
        PairedDraws((4.0, 7.0), np.array([4.0, 8.0]), np.array([7.0, 6.0]), 20),
        PairedDraws((6.0, 5.0), np.array([6.0, 5.0]), np.array([5.0, 9.0]), 10),
    ]
    for lower, value in ((True, 6.0 - 7.0), (False, 4.0 - 5.0)):
        found = worst_difference(draws, CONFIG, lower_is_better=lower)
        assert found[:3] == (value, value, value)
        assert found.p == 2.0**-29, "no p is below that of 30 patients who all agree"


def test_the_worst_site_has_the_freedom_of_the_smallest() -> None:
    """One site is always the worst of both models: its spread, widened by sqrt(10 / 9), and t
    with nine degrees of freedom."""
    draws = [site(9.0, 8.0, 10, 0.5, 1), site(1.0, 1.0, 40, 0.1, 2)]
    found = worst_difference(draws, CONFIG, lower_is_better=True)
    error = 0.5 * (10 / 9) ** 0.5
    assert found.high - 1 == pytest.approx(stats.t(9).ppf(0.975) * error)
    assert found.p == pytest.approx(2 * stats.t(9).sf(1 / error))


def test_undefined_draws_leave_no_interval() -> None:
    broken = PairedDraws((1.0, 2.0), np.full(200, np.nan), np.full(200, 2.0), 20)
    for found in (
        mean_difference([broken, site(1, 2, 20, 0.1, 0)], CONFIG),
        worst_difference([broken, site(1, 2, 20, 0.1, 0)], CONFIG, lower_is_better=True),
    ):
        assert found.value == -1.0 and np.isnan([found.low, found.high, found.p]).all()


def test_models_without_difference_are_equal() -> None:
    same = np.linspace(1, 2, 200)
    found = mean_difference([PairedDraws((1.5, 1.5), same, same, 12)] * 2, CONFIG)
    assert found == (0.0, 0.0, 0.0, 1.0)
