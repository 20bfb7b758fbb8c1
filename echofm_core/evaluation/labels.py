"""Who has labels for what: why a planned task has no value, and what leave-one-out then means."""

from collections.abc import Collection, Sequence

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.tasks import Task

#: How a task is written.
TASK_TITLES = {
    Task.EF: "EF",
    Task.ESV: "ESV",
    Task.EDV: "EDV",
    Task.REDUCED_EF: "reduced EF",
    Task.AS_GRADE: "aortic stenosis",
    Task.AS_CLASS: "aortic stenosis in three classes",
    Task.VIEW: "view",
}


def sites_having(census: pd.DataFrame, task: Task, split: Split) -> list[str]:
    """Sites with labels of a task in a split, by name; none has any where it has no column."""
    if task.value not in census.columns:
        return []
    rows = census[(census["split"] == split.value) & (census[task.value] > 0)]
    return sorted({str(site) for site in rows["site"]})


def unlabelled(
    census: pd.DataFrame, tasks: Sequence[Task], scored: Collection[str] = ()
) -> dict[Task, str]:
    """Planned tasks without scores, each with the reason in words; none where counts are unknown.

    Args:
        census: Label counts by site and split; empty where unknown.
        tasks: Planned tasks.
        scored: Tasks that have scores.
    """
    reasons: dict[Task, str] = {}
    for task in [] if census.empty else [task for task in tasks if task.value not in scored]:
        trained, tested = (sites_having(census, task, part) for part in (Split.TRAIN, Split.TEST))
        if not trained and not tested:
            reasons[task] = "nobody has labels"
        elif not tested:
            reasons[task] = f"nobody has test labels (training labels: {', '.join(trained)})"
        elif not trained:
            reasons[task] = f"nobody has training labels (test labels: {', '.join(tested)})"
    return reasons


def unseen_notes(
    unseen: Sequence[str], *, unlabelled_target: bool = False, held_back: bool = False
) -> list[str]:
    """What tables mean by a site that is never seen, and by all sites beside it.

    Args:
        unseen: Their names.
        unlabelled_target: Models pre-train on clips from there, without labels.
        held_back: Training patients there are kept apart, and are no test patients.
    """
    if not unseen:
        return []
    verb = "is" if len(unseen) == 1 else "are"
    kept = "no model trains on a clip, a label or a statistic from there"
    if unlabelled_target:
        kept = (
            "no model trains on a label from there, but models have pre-trained on its training "
            "clips without labels (protocol.unlabelled_target)"
        )
    tested = "all usable patients there are test patients, whatever split the data set has"
    if held_back:
        tested = "its test patients are the official ones or, without any, a drawn part"
    return [
        f"{' and '.join(unseen)} {verb} never seen: {kept}, and {tested}. The floor without a "
        'network is fitted on the other sites together. "All sites" are the others.'
    ]


def leave_one_out_notes(census: pd.DataFrame, tasks: Sequence[Task]) -> list[str]:
    """Where two sites have a task's labels: leaving one out leaves the other to train it alone."""
    pairs: dict[tuple[str, ...], list[str]] = {}
    for task in tasks:
        sites = sites_having(census, task, Split.TRAIN)
        if len(sites) == 2:
            pairs.setdefault(tuple(sites), []).append(TASK_TITLES[task])
    return [
        f'Only {first} and {second} have training labels for {", ".join(titles)}: there, "leave '
        'one out" is the other site fine-tuned alone, and differs from it only by the '
        "pre-training of the remaining sites."
        for (first, second), titles in pairs.items()
    ]
