"""Answers on tests: what was measured, on whom, and what came out.

Each takes the facts of a run and returns sentences; none where they say nothing of it.
"""

from echofm_core.data.manifest import Split
from echofm_core.evaluation.few_shot import few_shot_lines
from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.evaluation.levels import leads
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT, model_title
from echofm_core.evaluation.reported import ReportedMetric
from echofm_core.evaluation.score import JOINT, MEANS
from echofm_core.evaluation.score_table import at
from echofm_core.evaluation.stress.stressors import CLEAN
from echofm_core.report.checklist.facts import Facts
from echofm_core.report.few_shot import read_few_shot
from echofm_core.runtime.text import listed, many
from echofm_core.tasks import Task


def measures(facts: Facts) -> str:
    """Metrics, and the models that the run's own is compared with."""
    if not facts.model:
        return ""
    titles = ", ".join(metric.title for metric in facts.scores.metrics)
    rivals = [model_title(name) for name in facts.scores.models if name != facts.model]
    beside = f" Compared with: {'; '.join(rivals)}." if rivals else ""
    return f"{titles}; scores.parquet has all metrics.{beside}"


def uncertainty(facts: Facts) -> str:
    """Intervals and tests."""
    if not facts.model or facts.plan is None:
        return ""
    config = facts.plan.evaluation
    tests = " ".join(facts.words.sure)
    return (
        f"{config.confidence:.0%} percentile bootstrap intervals over patients, {config.bootstrap} "
        f"resamples. {tests}"
    ).rstrip()


def robustness(facts: Facts) -> str:
    """The synthetic change that costs most, of each task."""
    if facts.stress.empty:
        return ""
    changed = facts.stress[facts.stress["change"] != CLEAN.name]
    lines = []
    for metric in (item for item in facts.scores.metrics if item.verdict):
        own = (changed["task"] == metric.task.value) & (changed["metric"] == metric.metric)
        rows = changed[own].dropna(subset=["loss"])
        joint = rows[rows["site"].isin(MEANS) & ~rows["never_seen"]]
        rows = joint if len(joint) else rows[~rows["never_seen"]]
        if len(rows):
            worst = max(rows.to_dict("records"), key=lambda row: float(row["loss"]))
            lines.append(
                f"{metric.title} {worst['clean']:z.{metric.digits}f} becomes "
                f"{worst['value']:z.{metric.digits}f} {at(worst['site'])} by {worst['change']} "
                f"{worst['written']}"
            )
    settings = changed[["change", "strength"]].drop_duplicates()
    return (
        f"{many(len(settings), 'synthetic change')} of the test clips (stress.csv); the largest "
        f"loss of each task: {'; '.join(lines)}."
    )


def internal(facts: Facts) -> str:
    """Scores where the model trained."""
    return _scores(facts, facts.model, never=False)


def external(facts: Facts) -> str:
    """Scores at sites that no model trained on, and of models that leave the site out."""
    if not facts.model:
        return ""
    parts = []
    if seen_nowhere := _scores(facts, facts.model, never=True):
        parts.append(f"At sites that no model trained on: {seen_nowhere}")
    if LEAVE_ONE_OUT in facts.scores.models:
        left = _scores(facts, LEAVE_ONE_OUT, never=False)
        parts.append(f"Each site by a model that was trained without it: {left}")
    return " ".join(parts) or "None in this run: every site that was tested also trained."


def heterogeneity(facts: Facts) -> str:
    """How far apart the sites are."""
    lines = []
    for metric in (item for item in facts.scores.metrics if item.verdict):
        found = [
            f"{lead.title} {lead.text(facts.model, metric.digits)}"
            for lead in leads(facts.scores, metric)
            if facts.model in lead.numbers
        ]
        if found:
            lines.append(f"{metric.title}: {', '.join(found)}")
    return f"{'; '.join(lines)}." if lines else ""


def participants(facts: Facts) -> str:
    """Test patients of each site, and how many of them have a reduced EF."""
    test = facts.run.sites[facts.run.sites["split"] == Split.TEST.value]
    counts = [
        f"{site} {int(part['patients'].fillna(0).sum())}" for site, part in test.groupby("site")
    ]
    scores = facts.run.scores
    own = (scores["model"] == facts.model) & (scores["task"] == Task.REDUCED_EF.value)
    rows = scores[own & (scores["metric"] == "prevalence")].to_dict("records")
    events = [
        f"{row['value']:.0%} of {row['patients']} {at(str(row['site']))}"
        for row in rows
        if row["patients"] >= facts.few
    ]
    parts = [
        f"Test patients: {', '.join(counts)}." if counts else "",
        f"Reduced EF: {', '.join(events)}." if events else "",
    ]
    return " ".join(filter(None, parts))


def accuracy(facts: Facts) -> str:
    """What the threshold finds and misses."""
    return " ".join(facts.words.threshold)


def calibration(facts: Facts) -> str:
    """Intercept and slope of the probability of a reduced EF, at each site."""
    rows = [
        f"{site}, intercept {intercept}{slope and f', slope {slope}'}"
        for model, site, _, intercept, slope, *_ in (
            facts.calibration.rows if facts.calibration else ()
        )
        if model == model_title(facts.model)
    ]
    title = "Calibration of reduced EF (perfect: intercept 0, slope 1)"
    return f"{title}: {'; '.join(rows)}." if rows else ""


def subgroups(facts: Facts) -> str:
    """EF error by subgroup, where the model trained."""
    rows = [
        f"{group} (n {count}) {error}"
        for model, _, group, count, error, _ in (facts.subgroups.rows if facts.subgroups else ())
        if model == model_title(facts.model)
    ]
    return f"EF MAE by subgroup, in points: {', '.join(rows)}." if rows else ""


def failures(facts: Facts) -> str:
    """Where errors are largest."""
    return " ".join([*facts.words.by_stratum, *facts.words.largest])


def updating(facts: Facts) -> str:
    """What fine-tuning at a left-out site gives."""
    table = read_few_shot(facts.run.folder)
    return " ".join(few_shot_lines(table, facts.few)) if len(table) else ""


def limitations(facts: Facts) -> str:
    """What whoever reads the numbers must know; not how a training went, or what might help it."""
    of_training = set(facts.run.summary.get("training_notes", []))
    notes = [str(n) for n in facts.run.summary.get("notes", []) if n not in of_training]
    simulated = ["Data are simulated: nothing here says how a model does on patients."]
    return " ".join([*(simulated * facts.synthetic), *notes])


def sizes(facts: Facts) -> str:
    """Patients behind the number of each task, and below how many none is judged."""
    tasks: dict[str, list[str]] = {}
    for metric in (item for item in facts.scores.metrics if item.verdict):
        counts = ", ".join(
            f"{facts.scores.patients_at(site, metric)} {at(site)}"
            for site in _whole(facts, metric, never=False) + _whole(facts, metric, never=True)
        )
        tasks.setdefault(counts, []).append(TASK_TITLES[metric.task])
    if not tasks:
        return ""
    words = "; ".join(f"of {listed(titles)} {counts}" for counts, titles in tasks.items())
    return f"Test patients: {words}. A site with fewer than {facts.few} is not judged."


def _scores(facts: Facts, model: str, *, never: bool) -> str:
    """Every task's metric, of measurements R² too, over the sites of one kind."""
    lines = []
    for metric in facts.scores.metrics:
        if not (metric.verdict or metric.metric == "r2"):
            continue
        cells = {
            site: facts.scores.cell(model, site, metric)
            for site in _whole(facts, metric, never=never)
        }
        found = [f"{cell} {at(site)}" for site, cell in cells.items() if not cell.reason]
        if found:
            lines.append(f"{metric.title} {', '.join(found)}")
    return f"{'; '.join(lines)}." if lines else ""


def _whole(facts: Facts, metric: ReportedMetric, *, never: bool) -> list[str]:
    """The test set of all sites of one kind together; each of them where there is none."""
    there = facts.scores.sites_with_labels(metric)
    sites = [site for site in there if facts.scores.never_seen(site) is never]
    return [site for site in sites if site in JOINT] or sites
