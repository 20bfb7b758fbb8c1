"""The verdict of a run in words: terminal, card and page print these sentences and no others.

Whatever compares two models is read from the paired table (:mod:`echofm_core.evaluation.paired`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.labels import TASK_TITLES, unlabelled
from echofm_core.evaluation.model_names import FLOOR, LEAVE_ONE_OUT, LOCAL, POOLED, model_title
from echofm_core.evaluation.paired import PAIRED_COLUMNS, Finding
from echofm_core.evaluation.reported import ReportedMetric, reported_metric
from echofm_core.evaluation.score import ALL_SITES
from echofm_core.evaluation.score_table import TOO_FEW, Cell, ScoreTable, at
from echofm_core.tasks import Task

#: The rival that is another model at each site.
BEST_SITE = "best"
#: What the federated model is measured against, as sentences name it.
RIVALS = {
    BEST_SITE: "the best single site",
    POOLED: "pooled data",
    LEAVE_ONE_OUT: "leave one out (the site unseen)",
    FLOOR: model_title(FLOOR),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A row of the paired table: the first model minus its rival at a site."""

    metric: ReportedMetric
    model: str
    rival: str
    site: str
    value: float
    low: float
    high: float
    patients: int
    finding: Finding

    @property
    def difference(self) -> str:
        """``-0.91 [-1.33, -0.50]``: one decimal more than the values have."""
        digits = self.metric.digits + 1
        value, low, high = (f"{x:+z.{digits}f}" for x in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """How a model does in one metric over the sites that can be judged."""

    metric: ReportedMetric
    sites: dict[str, Cell]
    """Site -> its value, of sites with enough patients."""
    few: dict[str, Cell]
    """Site -> its value, of the others."""

    @property
    def mean(self) -> float:
        """Mean over the sites, each counting once."""
        return sum(found.value for found in self.sites.values()) / len(self.sites)

    @property
    def worst(self) -> str:
        """The site where the model does worst."""
        sign = -1 if self.metric.lower_is_better else 1
        return min(self.sites, key=lambda site: sign * self.sites[site].value)

    @property
    def gap(self) -> float:
        """Between the worst and the best site."""
        values = [found.value for found in self.sites.values()]
        return max(values) - min(values)


def comparisons(paired: pd.DataFrame) -> list[Comparison]:
    """The rows of a paired table, in its order."""
    return [
        Comparison(
            metric=metric,
            patients=int(row["patients"]),
            finding=Finding(row["finding"]),
            **{name: row[name] for name in ("model", "rival", "site", "value", "low", "high")},
        )
        for row in paired[list(PAIRED_COLUMNS)].to_dict("records")
        if (metric := reported_metric(row["task"], row["metric"]))
    ]


def level(table: ScoreTable, model: str, metric: ReportedMetric) -> Level:
    """A model's values at the sites where it was tested."""
    sites = (site for site in table.sites_with_labels(metric) if site != ALL_SITES)
    cells = {site: table.cell(model, site, metric) for site in sites}
    return Level(
        metric=metric,
        sites={site: found for site, found in cells.items() if found.judged},
        few={site: found for site, found in cells.items() if found.few},
    )


def against(
    rival: str, table: ScoreTable, found: Sequence[Comparison], metric: ReportedMetric
) -> list[Comparison]:
    """The run's own model against a rival of :data:`RIVALS`, over all sites first.

    Its own model is the first of the table: the federated one, or the only one.
    The best single site is the best of all ``local:`` models on each test set.
    """
    mine = [item for item in found if item.metric == metric and item.model == table.models[0]]
    if rival != BEST_SITE:
        mine = [item for item in mine if item.rival == rival]
    else:
        mine = [item for item in mine if item.rival == _best_site(table, item.site, metric)]
    return sorted(mine, key=lambda item: (item.site != ALL_SITES, item.site))


def _best_site(table: ScoreTable, site: str, metric: ReportedMetric) -> str:
    """The ``local:`` model that does best on a test set; empty without any."""
    names = [name for name in table.models if name.startswith(LOCAL)]
    cells = {name: table.cell(name, site, metric) for name in names}
    values = {name: found.value for name, found in cells.items() if not found.reason}
    sign = 1 if metric.lower_is_better else -1
    return min(values, key=lambda name: sign * values[name], default="")


def not_above_floor(
    found: Sequence[Comparison], metric: ReportedMetric, own: str
) -> list[Comparison]:
    """Where networks other than the run's own model are not better than what needs none.

    Over all sites where they were compared there, else at each site; a site alone at its own.
    """
    rows = [x for x in found if x.metric == metric and x.rival == FLOOR and x.model != own]
    whole = {x.model for x in rows if x.site == ALL_SITES}
    rows = [x for x in rows if x.site == ALL_SITES or x.model not in whole]
    return [x for x in rows if x.finding != Finding.BETTER]


def verdict(
    scores: pd.DataFrame,
    paired: pd.DataFrame,
    census: pd.DataFrame,
    tasks: Sequence[Task],
    few: int,
) -> list[str]:
    """The findings of a run, task by task.

    Args:
        scores: Columns model, site, task, metric, value, low, high, patients.
        paired: From :func:`echofm_core.evaluation.paired.paired_table`; may be empty.
        census: Label counts by site and split; empty where unknown.
        tasks: Planned tasks.
        few: Test patients below which a site is not judged.
    """
    table, found = ScoreTable(scores, few), comparisons(paired)
    lines = []
    for item in table.metrics:
        if not item.verdict:
            continue
        model = table.models[0]
        lines.append(level_sentence(level(table, model, item), model))
        for rival in RIVALS:
            if answers := against(rival, table, found, item):
                lines.append(_against_sentence(item, model, rival, answers))
        if failing := not_above_floor(found, item, model):
            lines.append(_floor_sentence(item, failing))
    reasons = unlabelled(census, tasks, set(scores["task"]))
    return lines + [f"{TASK_TITLES[task]}: {why}." for task, why in reasons.items()]


def sureness(paired: pd.DataFrame, config: EvaluationConfig) -> list[str]:
    """How the comparisons were made, and how many of them tell two models apart."""
    if paired.empty:
        return []
    clear = int(paired["finding"].isin([Finding.BETTER.value, Finding.WORSE.value]).sum())
    families = paired.assign(floor=paired["rival"] == FLOOR).groupby(["task", "metric", "floor"])
    sizes = families.size()
    together = (
        f"for the {_range(sizes)} comparisons of a table together (Holm), so an interval without "
        "zero is not enough"
        if sizes.max() > 1
        else "for the one comparison of a table"
    )
    return [
        f"Both models of a comparison are scored on the same patients ({_range(paired['patients'])}"
        "); a difference is the first model minus the other, with its "
        f"{config.confidence:.0%} interval over patients.",
        f'"Better" and "worse" hold at the level of {1 - config.confidence:.2g} {together}: '
        f"{clear} of {len(paired)} {'tells' if clear == 1 else 'tell'} two models apart.",
        f"Sites with fewer than {config.min_patients} test patients are not compared.",
    ]


def _range(counts: pd.Series) -> str:
    low, high = counts.min(), counts.max()
    return f"{low} to {high}" if low < high else f"{high}"


def level_sentence(found: Level, model: str) -> str:
    """Mean over sites, the worst of them, and how far they lie apart."""
    digits, parts = found.metric.digits, []
    if len(found.sites) == 1:
        ((site, only),) = found.sites.items()
        parts.append(f"{only} {at(site)} (n {only.patients}), the one site to judge by")
    elif found.sites:
        worst = found.sites[found.worst]
        parts.append(f"{found.mean:z.{digits}f} in the mean over {len(found.sites)} sites")
        parts.append(f"worst {at(found.worst)}, {worst} (n {worst.patients})")
        parts.append(f"{found.gap:z.{digits}f} between the worst and the best site")
    for site, one in found.few.items():
        parts.append(f"{one.number} {at(site)} (n {one.patients}, {TOO_FEW})")
    text = "; ".join(parts) or "no value at any site"
    return f"{found.metric.heading}: {model_title(model)} {text}."


def phrase(items: Sequence[Comparison], *, name: bool = False) -> str:
    """Comparisons by finding: ``better at camus (-0.91 [-1.33, -0.50], n 24); worse at ...``.

    ``name``: name the rivals, where the sentence does not.
    """
    groups: dict[Finding, list[str]] = {}
    for item in items:
        rival = f"{model_title(item.rival)}, " if name else ""
        text = f"{at(item.site)} ({rival}{item.difference}, n {item.patients})"
        groups.setdefault(item.finding, []).append(text)
    return "; ".join(f"{finding} {', '.join(texts)}" for finding, texts in groups.items())


def _against_sentence(
    item: ReportedMetric, model: str, rival: str, answers: Sequence[Comparison]
) -> str:
    subject = f"{item.title}, {model_title(model)}"
    title, text = RIVALS[rival], phrase(answers, name=rival == BEST_SITE)
    if rival != FLOOR:
        return f"{subject} against {title}: {text}."
    beaten = [answer.finding is Finding.BETTER for answer in answers]
    if all(beaten):
        return f"{subject} beats {title}: {text}."
    how = "beats {} only in part" if any(beaten) else "does not beat {}"
    return f"{subject} {how.format(title)}: {text}."


def _floor_sentence(item: ReportedMetric, failing: Sequence[Comparison]) -> str:
    text = "; ".join(
        f"{model_title(model)} {phrase([one for one in failing if one.model == model])}"
        for model in dict.fromkeys(one.model for one in failing)
    )
    return f"{item.title}, these do not beat {model_title(FLOOR)}: {text}."
