"""Answers on data: sources, eligibility, splits, what is missing, who the patients are.

Each takes the facts of a run and returns sentences; none where they say nothing of it.
"""

import numpy as np
import pandas as pd

from echofm_core.data.findings import Severity
from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.report.checklist.facts import SPLITS, Facts
from echofm_core.runtime.text import listed, many
from echofm_core.tasks import CLASS_NAMES, TASKS, Task, TaskKind

SIMULATED = "SIMULATED data: patients here are phantoms."


def sources(facts: Facts) -> str:
    """Data sets and counts of each site."""
    sites = facts.run.sites
    rows = [
        f"{site}{' (no model trained there)' if site in facts.run.unseen else ''}, "
        f"{_counted(part)}{_data_sets(str(site), part)}"
        for site, part in sites.groupby("site")
    ]
    return _said(facts, f"by site: {'; '.join(rows)}" if rows else "")


def setting(facts: Facts) -> str:
    """Number of sites, and the rule that made them."""
    if not (names := facts.run.site_names) or facts.plan is None:
        return ""
    made = " dealt out by a draw, which are no institutions" * bool(
        facts.run.summary.get("synthetic_sites")
    )
    rule = facts.plan.protocol.name.value
    return _said(facts, f"{many(len(names), 'site')}{made}: {', '.join(names)} (rule: {rule})")


def eligibility(facts: Facts) -> str:
    """Which clips the plan admits, and how many could not be used."""
    if facts.plan is None:
        return ""
    protocol = facts.plan.protocol
    sets = f"the data sets {listed(protocol.datasets)}" if protocol.datasets else "all data sets"
    views = f"views {listed(protocol.views)}" if protocol.views else "all views"
    least = facts.plan.data.min_clip_frames
    lost = f" {_unusable(facts)}" if "findings" not in facts.run.missing else ""
    return (
        f"By the plan: {sets}, as far as they were found; {views} in fine-tuning and test; cines "
        f"of at least {many(least, 'frame')}.{lost}"
    )


def subset(facts: Facts) -> str:
    """Share of labels that was used; what a test was made on."""
    if not facts.tasks or facts.plan is None:
        return ""
    share = facts.plan.finetune.label_fraction
    if share == 1:
        return "All training labels were used."
    return (
        f"The labels of {share:.0%} of the labelled training patients of each site were used, "
        f"drawn by seed {facts.plan.seed}."
    )


def missing(facts: Facts) -> str:
    """Clips without labels, files that could not be used, and what became of both."""
    train = facts.run.sites[facts.run.sites["split"] == Split.TRAIN.value]
    labels = [task for task in facts.tasks if task.value in train and len(train)]
    counts = [f"{TASK_TITLES[task]} {int(train[task.value].sum())}" for task in labels]
    lost = "" if "findings" in facts.run.missing else _unusable(facts)
    if not counts:
        return lost
    clips = int(train["clips"].sum())
    return (
        f"Labels of {many(clips, 'training clip')}: {', '.join(counts)}. No label is imputed: a "
        f"clip trains and tests the tasks that it has labels for. {lost}"
    ).rstrip()


def acquisition(facts: Facts) -> str:
    """Views, scanners and frame rates, as far as the files say."""
    table = facts.manifest
    if table.empty:
        return ""
    rates = table["fps"].to_numpy(dtype=float, na_value=np.nan)
    known = rates[np.isfinite(rates)]
    lost = len(rates) - len(known)
    unknown = f", not recorded in {many(lost, 'clip')}" if lost else ""
    fps = (
        f"median frame rate {np.median(known):.0f} a second (range {known.min():.0f} to "
        f"{known.max():.0f}{unknown})"
        if len(known)
        else "frame rate not recorded"
    )
    groups = (f"{name}: {_groups(facts, table, name)}" for name in ("view", "vendor"))
    return f"{many(len(table), 'clip')}, {fps}. Patients by {'; by '.join(groups)}."


def reference(facts: Facts) -> str:
    """What is predicted, in which unit, and what counts as positive."""
    if not facts.tasks or facts.plan is None:
        return ""
    threshold = facts.plan.finetune.reduced_ef_threshold
    words = "; ".join(_outcome(task, threshold) for task in facts.tasks)
    return _said(facts, f"as the data sources give them: {words}")


def partitions(facts: Facts) -> str:
    """Counts of each split, where they come from, and their hash."""
    sites = facts.run.sites
    outside = sites["site"].isin(facts.run.unseen) & (sites["split"] == Split.TEST.value)
    parts = {
        words: sites[~outside & (sites["split"] == key.value)] for key, words in SPLITS.items()
    }
    parts["external test"] = sites[outside]
    rows = [f"{words}, {_counted(part)}" for words, part in parts.items() if len(part)]
    if not rows or facts.plan is None:
        return ""
    protocol = facts.plan.protocol
    name = facts.run.summary.get("split_sha256")
    held = listed(facts.run.unseen)
    seed = facts.run.summary.get("split_seed", facts.plan.seed)  # of a study, that of its plan
    return (
        f"By split: {'; '.join(rows)}. The published split where a data set has one; otherwise "
        f"{protocol.test_fraction:.0%} of patients drawn for test and "
        f"{protocol.validation_fraction:.0%} for validation, by seed {seed}."
        + (f" External test: {held}, where no model of the table was trained." * bool(held))
        + (f" SHA-256 of the split: {name}." if name else "")
    )


def disjoint(facts: Facts) -> str:
    """Whether a patient is in two splits or at two sites, counted in the manifest."""
    if facts.manifest.empty:
        return ""
    parts = facts.manifest["split"].astype(str) + "\x1f" + facts.manifest["site"].astype(str)
    several = parts.groupby(patient_keys(facts.manifest)).nunique()
    return (
        f"By patient: {int((several > 1).sum())} of {many(len(several), 'patient')} "
        f"{'is' if (several > 1).sum() == 1 else 'are'} in more than one split or at more than one "
        "site."
    )


def characteristics(facts: Facts) -> str:
    """Sex, age and outcome of each split, by patient; small groups without a number."""
    table = facts.manifest
    if table.empty:
        return ""
    part = table["split"].astype(str).mask(table["site"].isin(facts.run.unseen), "unseen")
    titles = {**{key.value: words for key, words in SPLITS.items()}, "unseen": "external test"}
    rows = []
    for key, words in titles.items():
        people = table[part == key]
        people = people[~patient_keys(people).duplicated()]
        if len(people):
            rows.append(f"{words}, {many(len(people), 'patient')}: {_person(facts, people)}")
    return _said(facts, f"by split: {'; '.join(rows)}" if rows else "")


def _person(facts: Facts, people: pd.DataFrame) -> str:
    numbers = (
        _spread(facts, people[name], title, unit)
        for name, title, unit in (("age", "age", " years"), ("ef", "EF", " %"))
    )
    return ", ".join([f"sex {_groups(facts, people, 'sex')}", *numbers])


def _spread(facts: Facts, column: pd.Series, title: str, unit: str) -> str:
    values = column.dropna().to_numpy(dtype=float)
    if not len(values):
        return f"{title} not recorded"
    if len(values) < facts.few:
        return f"{title} recorded of fewer than {facts.few}"
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"median {title} {middle:.0f}{unit} (quartiles {low:.0f} and {high:.0f})"


def _groups(facts: Facts, table: pd.DataFrame, name: str) -> str:
    """Patients by a column's values; a patient may be in several."""
    people = patient_keys(table).groupby(table[name].astype("object").fillna("not recorded"))
    return ", ".join(
        f"{value} {count if count >= facts.few else f'fewer than {facts.few}'}"
        for value, count in people.nunique().items()
    )


def _unusable(facts: Facts) -> str:
    found = facts.run.findings
    lost = found[found["severity"] == Severity.QUARANTINED.value]
    kinds = lost["kind"].value_counts(sort=False).sort_index()
    each = (f"{str(kind).replace('_', ' ')} {count}" for kind, count in kinds.items())
    why = f" ({', '.join(each)})" if len(lost) else ""
    repaired = int((found["severity"] == Severity.REPAIRED.value).sum())
    return (
        f"{many(len(lost), 'file or row', 'files or rows')} could not be used{why}; {repaired} "
        f"{'was' if repaired == 1 else 'were'} used after a stated correction."
    )


def _outcome(task: Task, threshold: float) -> str:
    spec = TASKS[task]
    if spec.kind is TaskKind.REGRESSION:
        return f"{TASK_TITLES[task]} in {spec.unit}"
    if task is Task.REDUCED_EF:
        return f"reduced EF, an EF below {threshold:g} %"
    return f"{TASK_TITLES[task]} ({', '.join(CLASS_NAMES[task]).replace('_', ' ')})"


def _data_sets(site: str, part: pd.DataFrame) -> str:
    """Which these are, where the site has not the name of the only one."""
    names = sorted(set(part["dataset"].astype(str)))
    if names == [site]:
        return ""
    return f" ({'data set' if len(names) == 1 else 'data sets'} {listed(names)})"


def _counted(part: pd.DataFrame) -> str:
    clips, patients = (int(part[name].fillna(0).sum()) for name in ("clips", "patients"))
    return f"{many(clips, 'clip')} of {many(patients, 'patient')}"


def _said(facts: Facts, text: str) -> str:
    """A sentence, after one that says where data are simulated; nothing of nothing."""
    if not text:
        return ""
    sentence = f"{text[0].upper()}{text[1:]}."
    return f"{SIMULATED} {sentence}" if facts.synthetic else sentence
