"""Calibration of the probability of a reduced EF: a table and the curves, by site."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from echofm_core.evaluation.bootstrap import Estimate, bootstrap
from echofm_core.evaluation.calibration import (
    CurvePoint,
    calibration_curve,
    calibration_metrics,
)
from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.score import JOINT, Cases, study_cases, test_sets
from echofm_core.evaluation.score_table import TOO_FEW
from echofm_core.evaluation.strata import shown_models
from echofm_core.pages.chart import Chart, chart
from echofm_core.pages.grid import Grid
from echofm_core.pages.style import GREY, PALETTE, look, square_panels
from echofm_core.report.run_files import RunFiles
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

TITLES = {
    "intercept": "intercept (0)",
    "slope": "slope (1)",
    "expected_error": "expected error (0)",
    "brier": "Brier score",
}
#: Columns of text, then the metrics with the value of perfect calibration.
COLUMNS = ("model", "tested at", "n", *TITLES.values())
#: Bins of a curve: one for so many patients, from two to ten.
BIN_PATIENTS = 10


def calibration_table(run: RunFiles) -> Grid | None:
    """A row a model and site; None where no probability of a reduced EF was tested."""
    rows: list[tuple[str, ...]] = []
    config = run.plan.evaluation
    for model, site, cases in _tested(run):
        head = (model_title(model), site, str(cases.patient_count))
        if cases.patient_count < config.min_patients:
            rows.append((*head, TOO_FEW, *[""] * (len(TITLES) - 1)))
            continue
        draws = stream(run.plan.seed, site, 0, "bootstrap.calibration")
        metrics = partial(calibration_metrics, cases.truth > 0.5, cases.prediction)
        found = bootstrap(metrics, cases.patients, config, draws)
        rows.append((*head, *(_words(found[name]) for name in TITLES)))
    return Grid(columns=COLUMNS, rows=tuple(rows), numbers=frozenset({2})) if rows else None


def calibration_chart(run: RunFiles) -> Chart | None:
    """Observed against predicted, a panel a site with enough patients; None without any."""
    tested: dict[str, list[tuple[str, Cases]]] = {}
    for model, site, cases in _tested(run):
        if cases.patient_count >= run.plan.evaluation.min_patients:
            tested.setdefault(site, []).append((model, cases))
    if not tested:
        return None
    with look():
        figure, axes = square_panels(len(tested))
        for axis, (site, models) in zip(axes, tested.items(), strict=True):
            _curves(axis, site, models, run.plan.evaluation.confidence)
        words = f"observed share of reduced EF against predicted probability at {list(tested)}"
        return chart(figure, words, "calibration-reduced-ef", calibration_points(run))


def calibration_points(run: RunFiles) -> pd.DataFrame:
    """Model, site and the columns of a curve's points: what the chart is drawn from."""
    few, confidence = run.plan.evaluation.min_patients, run.plan.evaluation.confidence
    parts = [
        pd.DataFrame(_points(cases, confidence)).assign(site=site, model=model)
        for model, site, cases in _tested(run)
        if cases.patient_count >= few
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _points(cases: Cases, confidence: float) -> list[CurvePoint]:
    bins = int(np.clip(cases.patient_count // BIN_PATIENTS, 2, 10))
    positive = cases.truth > 0.5
    return calibration_curve(positive, cases.prediction, bins=bins, confidence=confidence)


def _curves(axis: Axes, site: str, models: list[tuple[str, Cases]], confidence: float) -> None:
    axis.plot((0, 1), (0, 1), color=GREY, linewidth=0.8)
    for number, (model, cases) in enumerate(models):
        points = _points(cases, confidence)
        x, y = ([getattr(point, name) for point in points] for name in ("predicted", "observed"))
        ends = [[p.observed - p.low for p in points], [p.high - p.observed for p in points]]
        axis.errorbar(
            x, y, yerr=np.abs(ends), label=model_title(model), color=PALETTE[number % len(PALETTE)],
            marker="os"[number % 2], markersize=4, linewidth=1.2, elinewidth=0.7,
        )  # fmt: skip
    axis.set(
        title=site, xlabel="predicted probability", ylabel="observed share",
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal",
    )  # fmt: skip
    axis.legend(loc="upper left")


def _tested(run: RunFiles) -> Iterator[tuple[str, str, Cases]]:
    """Model, site and cases, of the models that are looked at."""
    for model in shown_models(run.predictions):
        cases = study_cases(run.predictions[model], Task.REDUCED_EF)
        for site, here in test_sets(cases, run.unseen).items() if len(cases.truth) else ():
            if site not in JOINT and np.isfinite(here.prediction).all():
                yield model, site, here


def _words(found: Estimate) -> str:
    if not np.isfinite(found.value):
        return "undefined"
    interval = f" [{found.low:z.2f}, {found.high:z.2f}]" if np.isfinite(found.low) else ""
    return f"{found.value:z.2f}{interval}"
