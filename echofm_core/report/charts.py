"""Charts of a run: training curves, EF agreement, ROC."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from echofm_core.contract import Phase
from echofm_core.evaluation.bland_altman import bland_altman
from echofm_core.evaluation.model_names import FEDERATED, LEAVE_ONE_OUT, model_order, model_title
from echofm_core.evaluation.ranking import auc, roc_curve
from echofm_core.evaluation.score import Cases, study_cases
from echofm_core.pages.chart import Chart, chart
from echofm_core.pages.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    line_style,
    look,
    panels,
    square_panels,
)
from echofm_core.report.points import agreement_points, loss_rows, roc_points
from echofm_core.tasks import Task
from echofm_core.training.config import PretrainConfig
from echofm_core.training.stages import Target

#: Models whose single predictions are drawn, with their colour.
DRAWN = {FEDERATED: BLUE, LEAVE_ONE_OUT: ORANGE}

PHASE_TITLES = {
    Phase.PRETRAIN.value: "Pre-training (masked auto-encoding)",
    Phase.FINETUNE.value: "Fine-tuning (supervised)",
}

#: Of pre-training whose losses are of two kinds.
LATENT_TITLE = "Pre-training (a teacher on pixels, a student on its features)"

#: EF axis, percent.
EF_RANGE = (0.0, 100.0)


def training_curves(metrics: pd.DataFrame, pretrain: PretrainConfig) -> Chart | None:
    """Training loss of the federated arm: a panel a phase, a line a site; None without data.

    Where a teacher is trained before its student, a dotted line parts their losses.
    """
    rows = metrics[(metrics["arm"] == FEDERATED) & (metrics["metric"] == "loss")]
    rows = rows[rows["value"].notna()]
    phases = [phase for phase in PHASE_TITLES if (rows["phase"] == phase).any()]
    if not phases:
        return None
    sites = sorted(rows["site"].unique())
    with look():
        figure, axes = panels(len(phases), width=10.6, height=3.2)
        for axis, phase in zip(axes, phases, strict=True):
            for number, site in enumerate(sites):
                line = rows[(rows["phase"] == phase) & (rows["site"] == site)]
                line = line.sort_values("round")
                if len(line):
                    mark = {"marker": "o", "markersize": 3.5, "label": site}
                    axis.plot(line["round"], line["value"], **mark, **line_style(number))
            axis.set(title=PHASE_TITLES[phase], xlabel="round", ylabel="training loss")
            if phase == Phase.PRETRAIN and pretrain.target is Target.LATENT:
                axis.axvline(pretrain.teacher_rounds + 0.5, color=GREY, linestyle=":")
                axis.set(title=LATENT_TITLE, xlabel="round (dotted: from pixels to features)")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.legend()
        words = f"training loss by round, sites {sites}"
        return chart(figure, words, "training-curves", loss_rows(metrics))


def without_loss(metrics: pd.DataFrame) -> list[str]:
    """Phases and sites of the federated arm that trained privately and sent no loss."""
    rows = metrics[(metrics["arm"] == FEDERATED) & metrics["value"].notna()]
    loss, private = (
        set(rows.loc[rows["metric"] == name, ["phase", "site"]].itertuples(index=False, name=None))
        for name in ("loss", "epsilon")
    )
    return [f"{PHASE_TITLES.get(phase, phase)}, {site}" for phase, site in sorted(private - loss)]


def ef_agreement(predictions: Mapping[str, pd.DataFrame], threshold: float) -> dict[str, Chart]:
    """Scatter and Bland-Altman of EF by site, federated and leave-one-site-out.

    Args:
        predictions: Model -> rows of ``training.predict``.
        threshold: EF in percent below which it is reduced; drawn as lines.
    """
    drawn = [(model, predictions[model]) for model in DRAWN if model in predictions]
    cases = {model: study_cases(rows, Task.EF) for model, rows in drawn}
    charts = {}
    for site in _sites(cases):
        here = {m: c.at(site) for m, c in cases.items() if (c.table["site"] == site).any()}
        with look():
            figure, axes = panels(2 * len(here), width=2.75 * 2 * len(here), height=2.9)
            for number, (model, case) in enumerate(here.items()):
                _scatter(axes[2 * number], case, model, threshold)
                _bland_altman(axes[2 * number + 1], case, model)
            words = f"EF of {site}: predicted against reference, and Bland-Altman"
            points = agreement_points({model: rows[rows["site"] == site] for model, rows in drawn})
            charts[site] = chart(figure, words, f"agreement-ef-{site}", points)
    return charts


def reduced_ef_roc(predictions: Mapping[str, pd.DataFrame]) -> Chart | None:
    """ROC curves for reduced EF, a panel a site that has both classes; None if none has."""
    every = {m: study_cases(predictions[m], Task.REDUCED_EF) for m in model_order(predictions)}
    sites = [s for s in _sites(every) if any(_both_classes(c.at(s)) for c in every.values())]
    if not sites:
        return None
    with look():
        figure, axes = square_panels(len(sites))
        for axis, site in zip(axes, sites, strict=True):
            _roc(axis, site, {model: cases.at(site) for model, cases in every.items()})
        words = f"ROC curves for reduced EF at {sites}"
        return chart(figure, words, "roc-reduced-ef", roc_points(predictions))


def _scatter(axis: Axes, cases: Cases, model: str, threshold: float) -> None:
    axis.plot(EF_RANGE, EF_RANGE, color=GREY, linewidth=0.8)
    axis.axvline(threshold, color=INK, linewidth=0.9, linestyle=":")
    axis.axhline(threshold, color=INK, linewidth=0.9, linestyle=":")
    _points(axis, cases.truth, cases.prediction, model)
    axis.set(
        title=model_title(model), xlabel="reference EF (%)", ylabel="predicted EF (%)",
        xlim=EF_RANGE, ylim=EF_RANGE, aspect="equal",
    )  # fmt: skip


def _bland_altman(axis: Axes, cases: Cases, model: str) -> None:
    found = bland_altman(cases.truth, cases.prediction)
    mean = (cases.truth + cases.prediction) / 2
    _points(axis, mean, cases.prediction - cases.truth, model)
    axis.axhline(0, color=GREY, linewidth=0.8)
    for level, name in ((found.bias, "bias"), (found.low, ""), (found.high, "")):
        if np.isfinite(level):
            axis.axhline(level, color=INK, linewidth=1, linestyle="-" if name else "--")
    edges = [found.low, found.high, *(cases.prediction - cases.truth)]
    reach = max(20.0, 1.1 * float(np.nanmax(np.abs(edges))))
    axis.set(
        title=f"bias {found.bias:+z.1f}, limits {found.low:+.1f} to {found.high:+.1f}",
        xlabel="mean of both (%)", ylabel="predicted - reference",
        xlim=EF_RANGE, ylim=(-reach, reach),
    )  # fmt: skip


def _points(axis: Axes, x: np.ndarray, y: np.ndarray, model: str) -> None:
    many = len(x) > 400
    axis.scatter(
        x, y, s=5 if many else 13, color=DRAWN[model], alpha=0.35 if many else 0.65,
        linewidths=0, rasterized=many, label=model_title(model),
    )  # fmt: skip


def _roc(axis: Axes, site: str, models: Mapping[str, Cases]) -> None:
    axis.plot((0, 1), (0, 1), color=GREY, linewidth=0.8)
    for number, (model, cases) in enumerate(models.items()):
        if not _both_classes(cases):
            continue
        positive = cases.truth > 0.5
        false, true = roc_curve(positive, cases.prediction)
        area = float(auc(positive, cases.prediction, np.ones((1, len(positive))))[0])
        thick = 2.4 if model == FEDERATED else 1.1
        label = f"{model_title(model)} ({area:.2f})"
        axis.plot(false, true, label=label, **{**line_style(number), "linewidth": thick})
    axis.set(
        title=site, xlabel="1 - specificity", ylabel="sensitivity (reduced EF found)",
        xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal",
    )  # fmt: skip
    axis.legend(loc="lower right", title="model (AUC)", title_fontsize=8)


def _both_classes(cases: Cases) -> bool:
    positive = cases.truth > 0.5
    return bool(positive.any() and not positive.all() and np.isfinite(cases.prediction).all())


def _sites(models: Mapping[str, Cases]) -> Sequence[str]:
    return sorted({str(site) for cases in models.values() for site in cases.table["site"]})
