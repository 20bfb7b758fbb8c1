"""What the arms of the learning benchmark reached: means with intervals over seeds, and bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from benchmarks._rows import Bar, Row
from benchmarks.learning_arms import Arm, Start
from benchmarks.learning_floor import Floor, floors_of
from echofm_core.tasks import Task

#: Coverage of an interval.
COVERAGE = 0.95
#: Least EF R2 of MAE + STF-Net with all labels.
LEAST_EF_R2 = 0.80
#: Longest name of an arm, and two.
NAME_WIDTH = 28
#: From here down, in percent of the training patients, labels are few.
FEW = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A figure of the table; ``judged``: the higher-is-better one of its task, which bars read."""

    task: Task
    metric: str
    title: str
    judged: bool = False


MEASURES = (
    Measure(task=Task.EF, metric="r2", title="EF R2", judged=True),
    Measure(task=Task.EF, metric="mae", title="EF MAE, points"),
    Measure(task=Task.ESV, metric="r2", title="ESV R2", judged=True),
    Measure(task=Task.ESV, metric="mae", title="ESV MAE, ml"),
    Measure(task=Task.EDV, metric="r2", title="EDV R2", judged=True),
    Measure(task=Task.EDV, metric="mae", title="EDV MAE, ml"),
    Measure(task=Task.REDUCED_EF, metric="auc", title="reduced EF AUC", judged=True),
    Measure(task=Task.AS_GRADE, metric="macro_auc", title="AS macro AUC", judged=True),
)
EF_R2 = MEASURES[0]
MEAN_OF_FIVE = "mean of the five"
JUDGED = tuple(measure for measure in MEASURES if measure.judged)


@dataclass(frozen=True, slots=True)
class Interval:
    """Mean over seeds, and its confidence interval."""

    mean: float
    low: float
    high: float


def over_seeds(values: Sequence[float]) -> Interval:
    """Student's t interval of at least two seeds."""
    mean = sum(values) / len(values)
    half = float(stats.t.ppf((1 + COVERAGE) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


class Results:
    """The arms' scores.

    Args:
        arms: What was trained.
        scores: Columns seed, arm, task, metric, value, low, high (the ends over patients).

    Attributes:
        arms: By name, one of each.
        floors: What the labels of the arms give without a network, one of each share.
        seeds: Those that every arm has; arms are set beside each other on these alone.
    """

    def __init__(self, arms: Sequence[Arm], scores: pd.DataFrame) -> None:
        self.arms = {arm.name: arm for arm in arms}
        of = {name: {arm.seed for arm in arms if arm.name == name} for name in self.arms}
        self.seeds = sorted(set.intersection(*of.values()))
        self.floors = {floor.name: floor for floor in floors_of(arms)}
        self._scores = dict(list(scores.sort_values("seed").groupby(["task", "metric", "arm"])))

    def values(self, measure: Measure, arm: Arm | Floor) -> list[float]:
        """One for each seed that all arms have, in their order."""
        found = self._of(measure, arm)
        return [float(value) for value in found["value"][found["seed"].isin(self.seeds)]]

    def draws(self, measure: Measure, arm: Arm) -> list[float]:
        """One for each seed that this arm has, in their order."""
        return [float(value) for value in self._of(measure, arm)["value"]]

    def interval(self, measure: Measure, arm: Arm | Floor) -> Interval:
        """Over seeds; over patients (bootstrap) where there is one seed only."""
        found = self._of(measure, arm)
        if len(self.seeds) > 1:
            return over_seeds(self.values(measure, arm))
        return Interval(*(float(found[name].iloc[0]) for name in ("value", "low", "high")))

    def gains(self, measures: Sequence[Measure], percent: int) -> list[float]:
        """MAE less random initialisation, one a draw: mean over measures, compact, all trained."""
        pairs = [
            zip(
                self.draws(measure, self.compact(Start.MAE, percent)),
                self.draws(measure, self.compact(Start.RANDOM, percent)),
                strict=True,
            )
            for measure in measures
        ]
        each = [[ours - theirs for ours, theirs in pair] for pair in pairs]
        return [sum(one) / len(one) for one in zip(*each, strict=True)]

    def compact(self, start: Start, percent: int = 100) -> Arm:
        """The arm with the compact STF-Net, all trained."""
        return next(
            arm for arm in self.arms.values()
            if arm.compared and (arm.start, arm.percent) == (start, percent)
        )  # fmt: skip

    def everybody(self) -> list[Arm | Floor]:
        """Lines of the table: the arms, then the floors."""
        return [*self.arms.values(), *self.floors.values()]

    def percents(self) -> list[int]:
        """Shares of labels that both starts were trained with, ascending."""
        return sorted({arm.percent for arm in self.arms.values()})

    def best(self, measure: Measure) -> Arm:
        """The arm with all labels and the largest mean."""
        whole = [arm for arm in self.arms.values() if arm.percent == max(self.percents())]
        return max(whole, key=lambda arm: self.interval(measure, arm).mean)

    def above_floor(self, measure: Measure) -> Interval:
        """MAE + STF-Net less the floor, both with all labels, over the seeds that all have."""
        ours, percent = self.compact(Start.MAE), max(self.percents())
        floor = next(floor for floor in self.floors.values() if floor.percent == percent)
        pairs = zip(self.values(measure, ours), self.values(measure, floor), strict=True)
        each = [mine - other for mine, other in pairs]
        return over_seeds(each) if len(each) > 1 else Interval(each[0], math.nan, math.nan)

    def _of(self, measure: Measure, arm: Arm | Floor) -> pd.DataFrame:
        return self._scores[measure.task.value, measure.metric, arm.name]


def rows_of(results: Results) -> list[Row]:
    """What is held to a bar, and the gains by share of labels."""
    ours = results.compact(Start.MAE)
    reached = results.interval(EF_R2, ours).mean
    rows = [Row("EF R2, MAE + STF-Net, all labels", reached, bar=Bar("at least", LEAST_EF_R2))]
    for measure in JUDGED:
        best = results.best(measure)
        room = results.interval(measure, ours).mean - results.interval(measure, best).low
        what = f"{measure.title}: MAE + STF-Net less the low end of the best ({best.name})"
        rows.append(Row(what, room, bar=Bar("at least", 0)))
    for measure in JUDGED:
        above = results.above_floor(measure).mean
        rows.append(Row(f"{measure.title}: MAE + STF-Net less the floor without a network", above))
    return [
        *rows,
        *_rows_of_gains(results, EF_R2.title, [EF_R2]),
        *_rows_of_gains(results, MEAN_OF_FIVE, JUDGED),
    ]


def _rows_of_gains(results: Results, title: str, measures: Sequence[Measure]) -> list[Row]:
    """What MAE adds at each share of labels; held to a bar: it adds most where labels are few."""
    found = {percent: results.gains(measures, percent) for percent in results.percents()}
    gains = {percent: sum(each) / len(each) for percent, each in found.items()}
    few = max(gain for percent, gain in gains.items() if percent <= FEW)
    many = max(gain for percent, gain in gains.items() if percent > FEW)
    return [
        *(
            Row(f"{title}: MAE less random init, {percent} % of labels", gain)
            for percent, gain in gains.items()
        ),
        Row(
            f"{title}: largest gain up to {FEW} % of labels less the largest above",
            few - many,
            bar=Bar("at least", 0),
        ),
    ]


def table_of(results: Results) -> str:
    """All arms side by side, and then each figure: mean, interval, and the value of each seed."""
    return "\n".join(
        [*_summary(results), *_details(results), *_above_floor(results), *_gains(results)]
    )


def _summary(results: Results) -> list[str]:
    """One line an arm: mean, and half the width of its interval."""
    lines = [
        f"{'':{NAME_WIDTH}}" + "".join(f"{measure.title:>17}" for measure in JUDGED),
    ]
    for arm in results.everybody():
        found = [results.interval(measure, arm) for measure in JUDGED]
        cells = "".join(f"{one.mean:9.3f} ± {(one.high - one.low) / 2:5.3f}" for one in found)
        lines.append(f"{arm.name:{NAME_WIDTH}}{cells}")
    return lines


def _details(results: Results) -> list[str]:
    over = "seeds" if len(results.seeds) > 1 else "patients (one seed)"
    lines = []
    for measure in MEASURES:
        lines += ["", f"{measure.title}: mean, {COVERAGE:.0%} interval over {over}; one a seed"]
        for arm in results.everybody():
            found = results.interval(measure, arm)
            each = "  ".join(f"{value:6.3f}" for value in results.values(measure, arm))
            ends = f"{found.low:7.3f} to {found.high:6.3f}"
            lines.append(f"  {arm.name:{NAME_WIDTH}} {found.mean:7.3f}  {ends}   {each}")
    return lines


def _above_floor(results: Results) -> list[str]:
    """How far the network is above what needs none, with the interval of the difference."""
    lines = ["", "MAE + STF-Net less the floor (no_network: ridge on coarse grey statistics)"]
    for measure in JUDGED:
        found = results.above_floor(measure)
        ends = f"{found.low:7.3f} to {found.high:6.3f}"
        lines.append(f"  {measure.title:{NAME_WIDTH}} {found.mean:7.3f}  {ends}")
    return lines


def _gains(results: Results) -> list[str]:
    """What MAE adds at each share of labels: how sure the means are that bars are held to."""
    lines = []
    for title, measures in ((EF_R2.title, [EF_R2]), (MEAN_OF_FIVE, JUDGED)):
        lines += ["", f"{title}: MAE less random init, compact STF-Net, by percent of labels"]
        for percent in results.percents():
            each = results.gains(measures, percent)
            values = "  ".join(f"{value:6.3f}" for value in each)
            found = over_seeds(each) if len(each) > 1 else None
            ends = f"{found.mean:7.3f}  {found.low:7.3f} to {found.high:6.3f}   " if found else ""
            lines.append(f"  {percent:<{NAME_WIDTH}} {ends}{values}")
    return lines
