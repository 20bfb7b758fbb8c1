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
from echofm_core.runtime.text import many
from echofm_core.tasks import CLASS_NAMES, TASKS, Task, TaskKind

SIMULATED = "SIMULATED data (phantoms), no patients:"


def sources(facts: Facts) -> str:
    """Data sets and counts of each site."""
    sites = facts.run.sites
    rows = [
        f"{site}{' (no model trained there)' if site in facts.run.unseen else ''}: "
        f"{_counted(part)} (data set {', '.join(sorted(set(part['dataset'].astype(str))))})"
        for site, part in sites.groupby("site")
    ]
    return _said(facts, "; ".join(rows))


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
    sets = f"data sets {', '.join(protocol.datasets)}" if protocol.datasets else "all data sets"
    views = f"views {', '.join(protocol.views)}" if protocol.views else "all views"
    least = facts.plan.data.min_clip_frames
    lost = f" {_unusable(facts)}" if "findings" not in facts.run.missing else ""
    return (
        f"By the plan: {sets} that were found; {views} in fine-tuning and test; cines of at least "
        f"{least} frames.{lost}"
    )


def subset(facts: Facts) -> str:
    """Share of labels that was used; what a test was made on."""
    if not facts.tasks or facts.plan is None:
        return ""
    share = facts.plan.finetune.label_fraction
    labels = f"the labels of {share:.0%} of labelled training patients of each site, drawn"
    return f"Used were {'all training labels' if share == 1 else labels}."


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
        f"Of {many(clips, 'training clip')} labels have: {', '.join(counts)}. No label is imputed: "
        f"a clip trains and tests the tasks that it has labels for. {lost}"
    ).rstrip()


def acquisition(facts: Facts) -> str:
    """Views, scanners and frame rates, as far as the files say."""
    table = facts.manifest
    if table.empty:
        return ""
    rates = table["fps"].to_numpy(dtype=float, na_value=np.nan)
    known = rates[np.isfinite(rates)]
    fps = (
        f"frame rate {np.median(known):.0f} Hz in the median ({known.min():.0f} to "
        f"{known.max():.0f}), unknown of {len(rates) - len(known)}"
        if len(known)
        else "frame rate not recorded"
    )
    groups = (f"{name} {_groups(facts, table, name)}" for name in ("view", "vendor"))
    return f"{many(len(table), 'clip')}: {fps}; patients by {'; by '.join(groups)}."


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
    rows = [
        f"{words} {_counted(part)}"
        for split, words in SPLITS.items()
        if len(part := sites[sites["split"] == split.value])
    ]
    if not rows or facts.plan is None:
        return ""
    protocol = facts.plan.protocol
    name = facts.run.summary.get("split_sha256")
    held = ", ".join(facts.run.unseen)
    return (
        f"{'; '.join(rows)}. A data set's own split where it has one; else "
        f"{protocol.test_fraction:.0%} of patients for test and "
        f"{protocol.validation_fraction:.0%} for validation, drawn by seed {facts.plan.seed}."
        + (f" All usable patients of {held} are for external testing alone." if held else "")
        + (f" SHA-256 of the split: {name}." if name else "")
    )


def disjoint(facts: Facts) -> str:
    """Whether a patient is in two splits or at two sites, counted in the manifest."""
    if facts.manifest.empty:
        return ""
    parts = facts.manifest["split"].astype(str) + "\x1f" + facts.manifest["site"].astype(str)
    several = parts.groupby(patient_keys(facts.manifest)).nunique()
    return (
        f"By patient: {int((several > 1).sum())} of {many(len(several), 'patient')} are in more "
        "than one split or at more than one site."
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
    return _said(facts, "; ".join(rows))


def _person(facts: Facts, people: pd.DataFrame) -> str:
    numbers = (
        f"{title} {_spread(facts, people[name])}" for name, title in (("age", "age"), ("ef", "EF"))
    )
    return ", ".join([f"sex {_groups(facts, people, 'sex')}", *numbers])


def _spread(facts: Facts, column: pd.Series) -> str:
    values = column.dropna().to_numpy(dtype=float)
    if len(values) < facts.few:
        return "not recorded" if not len(values) else f"of fewer than {facts.few}"
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


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
    why = f" ({', '.join(f'{kind} {count}' for kind, count in kinds.items())})" if len(lost) else ""
    repaired = int((found["severity"] == Severity.REPAIRED.value).sum())
    return (
        f"{many(len(lost), 'file or row', 'files or rows')} could not be used{why}; {repaired} "
        "were used after a stated correction."
    )


def _outcome(task: Task, threshold: float) -> str:
    spec = TASKS[task]
    if spec.kind is TaskKind.REGRESSION:
        return f"{TASK_TITLES[task]} in {spec.unit}"
    if task is Task.REDUCED_EF:
        return f"reduced EF, an EF below {threshold:g} %"
    return f"{TASK_TITLES[task]}, {', '.join(CLASS_NAMES[task]).replace('_', ' ')}"


def _counted(part: pd.DataFrame) -> str:
    clips, patients = (int(part[name].fillna(0).sum()) for name in ("clips", "patients"))
    return f"{many(clips, 'clip')} of {many(patients, 'patient')}"


def _said(facts: Facts, text: str) -> str:
    """A sentence, which says where data are simulated; nothing of nothing."""
    if not text:
        return ""
    return f"{SIMULATED} {text}." if facts.synthetic else f"{text[0].upper()}{text[1:]}."
