"""How often a verdict tells two models apart that are alike: the paired test's false alarms.

    python -m benchmarks.verdict          # some minutes of processor time
    python -m benchmarks.verdict --keep   # and keeps the figures in benchmarks/results

Patients are drawn from a normal law of EF, and both models' errors from one law with heavy tails
(Student's t, four degrees of freedom), so that whatever tells them apart is chance. A bar is what a
test of exactly the level exceeds once in ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from scipy.stats import binom

from benchmarks._kept import KEPT, head_of
from benchmarks._rows import Bar, Row, finish, lines_of, parser
from echofm_core.evaluation.across_sites import mean_difference, worst_difference
from echofm_core.evaluation.bootstrap import PairedDraws, difference, paired_draws
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.metrics import task_metrics
from echofm_core.tasks import Task

TITLE = "How often two models that are alike are told apart"
NOTE = """\
Made-up patients, and errors of one law for both models: all that tells them apart is chance.
Figures are shares of the repetitions. `percentiles` is what the draws' own percentiles would say,
which the product does not use. A bar is what a test of exactly the level exceeds once in ten
thousand."""
#: EF in percent: mean and standard deviation of patients, scale of the models' errors; below the
#: last it is reduced.
MEAN, SD, ERROR, REDUCED = 55.0, 12.0, 5.0, 50.0
#: Of one test set: repetitions, draws of each, level, and what is looked at.
ALONE, DRAWS, STRICT = 1500, 2000, 0.005
METRICS = {12: ("mae", "r2", "pearson"), 24: ("mae", "r2", "pearson"),
           60: ("mae", "r2", "pearson", "reduced_auc")}  # fmt: skip
#: Of several sites: likewise; the warning of the worst site is one-sided.
TOGETHER, FEWER_DRAWS, LEVEL = 1000, 400, 0.05
#: Sites by words: patients of each, and how many times the error is.
SITES = {
    "3 x 24": ((24, 1), (24, 1), (24, 1)),
    "3 x 24, one with twice the error": ((24, 1), (24, 1), (24, 2)),
    "3 x 12": ((12, 1), (12, 1), (12, 1)),
    "6 x 24": ((24, 1),) * 6,
    "12, 60 and 200": ((12, 1), (60, 1), (200, 1)),
}


def drawn(
    patients: int, times: float, config: EvaluationConfig, rng: np.random.Generator
) -> dict[str, PairedDraws]:
    """Two models of one law at the patients of a site, by metric."""
    truth = rng.normal(MEAN, SD, patients)
    first, second = truth + ERROR * times * rng.standard_t(4, (2, patients))
    metrics = partial(task_metrics, Task.EF, truth, threshold=REDUCED)
    return paired_draws(
        lambda weights: metrics(prediction=first, weights=weights),
        lambda weights: metrics(prediction=second, weights=weights),
        np.arange(patients),
        config,
        rng,
    )


def by_percentiles(found: PairedDraws) -> float:
    """Two-sided p of the draws as they are, which the product does not use."""
    apart = found.first - found.second
    apart = apart[np.isfinite(apart)]
    return 2 * float(min((apart <= 0).mean(), (apart >= 0).mean())) if len(apart) else 1.0


def alone(patients: int, times: int, rng: np.random.Generator) -> Iterator[Row]:
    """Shares told apart at one test set, ours beside percentiles."""
    config, low = EvaluationConfig(bootstrap=DRAWS), {name: [0, 0] for name in METRICS[patients]}
    for _ in range(times):
        found = drawn(patients, 1, config, rng)
        for name, counts in low.items():
            counts[0] += difference(found[name], config).p < STRICT
            counts[1] += by_percentiles(found[name]) < STRICT
    for name, (ours, percentiles) in low.items():
        what = f"{patients} patients, {name}: p below {STRICT:g}"
        yield Row(what, ours / times, bar=most(STRICT, times))
        yield Row(f"{what}, percentiles", percentiles / times)


def together(
    words: str, sites: Sequence[tuple[int, float]], times: int, rng: np.random.Generator
) -> Iterator[Row]:
    """Shares told apart in the mean over sites, and warned of the worst site."""
    config, apart, warned = EvaluationConfig(bootstrap=FEWER_DRAWS), 0, 0
    for _ in range(times):
        found = [drawn(patients, error, config, rng)["mae"] for patients, error in sites]
        apart += mean_difference(found, config).p < LEVEL
        warned += worst_difference(found, config, lower_is_better=True).low > 0
    yield Row(f"{words}: told apart in the mean", apart / times, bar=most(LEVEL, times))
    yield Row(f"{words}: warned of the worst site", warned / times, bar=most(LEVEL / 2, times))


def most(level: float, times: int) -> Bar:
    """What a test of that level exceeds once in ten thousand."""
    return Bar("at most", float(binom.ppf(1 - 1e-4, times, level)) / times)


def measure(one: int = ALONE, several: int = TOGETHER) -> list[Row]:
    """All rows; the same seed gives the same figures."""
    rng = np.random.default_rng(0)
    rows = [row for patients in METRICS for row in alone(patients, one, rng)]
    return rows + [row for it, sites in SITES.items() for row in together(it, sites, several, rng)]


def page(rows: Sequence[Row]) -> str:
    """The page to keep, Markdown."""
    context = {
        "made by": "python -m benchmarks.verdict",
        "one test set": f"{ALONE:,} times, {DRAWS:,} draws of the patients each",
        "several sites": f"{TOGETHER:,} times, {FEWER_DRAWS} draws of each site's patients; MAE",
    }
    return f"# {TITLE}\n\n{head_of(context)}\n\n{NOTE}\n\n```\n{lines_of(rows)}\n```\n"


if __name__ == "__main__":
    arguments = parser(TITLE)
    arguments.add_argument("--keep", action="store_true", help="keep the figures")
    options = arguments.parse_args()
    measured = measure()
    if options.keep:
        (KEPT / "verdict.md").write_text(page(measured), encoding="utf-8")
    finish(measured, options.json)
