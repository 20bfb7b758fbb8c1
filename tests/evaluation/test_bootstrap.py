"""Intervals against cases whose resampling distribution is known in closed form."""

import time

import numpy as np
import pytest
from scipy import stats

from echofm_core.evaluation.bootstrap import bootstrap, draw_patients, paired_difference
from echofm_core.evaluation.config import EvaluationConfig


def rng():
    return np.random.default_rng(3)


def mean_of(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


def test_every_resample_draws_as_many_patients_as_there_are() -> None:
    counts = draw_patients(7, 500, rng())
    assert counts.shape == (500, 7) and (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_interval_of_a_proportion_is_binomial() -> None:
    """40 patients, 12 of them 1: the resampled sum is Binomial(40, 0.3) exactly, so the interval's
    ends are its 2.5 % and 97.5 % quantiles over 40; one step of 1/40 for the random draws."""
    values = (np.arange(40) < 12).astype(float)
    config = EvaluationConfig(bootstrap=20_000)
    found = bootstrap(mean_of(values), np.arange(40), config, rng())["mean"]
    assert found.value == pytest.approx(0.3)
    low, high = stats.binom.ppf([0.025, 0.975], 40, 0.3) / 40
    assert (found.low, found.high) == pytest.approx((low, high), abs=1 / 40 + 1e-9)


def test_patients_not_studies_are_drawn() -> None:
    """Ten copies of each of 40 patients hold no more information: the same interval, to the bit.

    Drawing studies would make it about sqrt(10) times narrower.
    """
    values = (np.arange(40) < 12).astype(float)
    config = EvaluationConfig(bootstrap=2000)
    once = bootstrap(mean_of(values), np.arange(40), config, rng())["mean"]
    copied = bootstrap(mean_of(np.repeat(values, 10)), np.repeat(np.arange(40), 10), config, rng())[
        "mean"
    ]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-12)


def test_agrees_with_scipy_on_a_skewed_sample() -> None:
    """scipy.stats.bootstrap, percentile method, own draws: ends within 3 % of the width."""
    values = np.random.default_rng(1).exponential(10, 150)
    wanted = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    found = bootstrap(mean_of(values), np.arange(150), EvaluationConfig(bootstrap=20_000), rng())[
        "mean"
    ]
    slack = 0.03 * (wanted.high - wanted.low)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=slack)


def test_pairing_removes_what_the_models_share() -> None:
    """Two models whose errors differ by exactly 1 for every patient: the difference is certain,
    although each model's own interval is wide."""
    errors = np.random.default_rng(4).normal(5, 4, 60)
    config = EvaluationConfig(bootstrap=500)
    alone = bootstrap(mean_of(errors), np.arange(60), config, rng())["mean"]
    both = paired_difference(mean_of(errors + 1), mean_of(errors), np.arange(60), config, rng())[
        "mean"
    ]
    assert alone.high - alone.low > 1
    assert (both.value, both.low, both.high) == pytest.approx((1, 1, 1))


def test_rarely_defined_metrics_have_no_interval() -> None:
    """Defined only when patient 0 is drawn at least 3 times of 8, about 8 % of the resamples."""

    def rare(weights):
        return {"x": np.where((weights[:, 0] >= 3) | (len(weights) == 1), 1.0, np.nan)}

    found = bootstrap(rare, np.arange(8), EvaluationConfig(bootstrap=1000), rng())["x"]
    assert found.value == 1 and np.isnan(found.low) and np.isnan(found.high)


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(30.0)
    config = EvaluationConfig(bootstrap=1000)
    whole = bootstrap(mean_of(values), np.arange(30), config, rng())
    monkeypatch.setattr("echofm_core.evaluation.bootstrap.BLOCK", 30 * 64)
    assert bootstrap(mean_of(values), np.arange(30), config, rng()) == whole


def test_no_patients_no_estimates() -> None:
    assert bootstrap(mean_of(np.ones(0)), np.zeros(0, int), EvaluationConfig(), rng()) == {}


def test_a_thousand_resamples_of_echonet_take_seconds() -> None:
    """1,277 patients are the EchoNet-Dynamic test set; measured 0.05 s, bound 5 s.."""
    from functools import partial

    from echofm_core.evaluation.metrics import task_metrics
    from echofm_core.tasks import Task

    draws = np.random.default_rng(0)
    truth = draws.uniform(20, 80, 1277)
    statistic = partial(task_metrics, Task.EF, truth, truth + draws.normal(0, 5, 1277))
    started = time.process_time()
    bootstrap(
        partial(statistic, threshold=50), np.arange(1277), EvaluationConfig(bootstrap=1000), rng()
    )
    assert time.process_time() - started < 5
