"""Which comparisons are one and the same: of models that predict alike, under several names.

A site's own model stands in a study twice at home: as ``local:SITE``, and in the row ``local`` of
all sites at home. Where one site alone has labels, the mean of all sites' models is that site's;
of two sites, leaving one out leaves the other alone. Nobody can list all such pairs beforehand, so
predictions themselves are compared, bit by bit.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256

import numpy as np
import pandas as pd

from echofm_core.evaluation.score import MEAN_OF_SITES, MEAN_UNSEEN, WORST_SITE, WORST_UNSEEN
from echofm_core.tasks import TASKS, Task

#: Names of what is taken over several sites; whether these are sites that no model trained on.
_JOINT = ((MEAN_OF_SITES, False), (WORST_SITE, False), (MEAN_UNSEEN, True), (WORST_UNSEEN, True))

#: Task and test set -> digest of what a model predicts there.
Digests = dict[tuple[str, str], str]


def tested_pairs(
    table: pd.DataFrame,
    models: Mapping[str, Sequence[pd.DataFrame]],
    unseen: Collection[str] = (),
) -> pd.Series:
    """What each comparison tests: equal text where both models predict as those of another one.

    Args:
        table: Columns model, rival, site, task; one row a comparison.
        models: Name -> rows of :func:`echofm_core.training.predict.predict`, a table a seed.
        unseen: Sites that no model trained on.

    Returns:
        Text, indexed as the table. Empty where the two models themselves predict alike: nothing is
        tested there.
    """
    digests = {name: _digests(seeds, unseen) for name, seeds in models.items()}
    pairs = [
        [digests[name].get((task, site), name) for name in (model, rival)]
        for model, rival, site, task in zip(
            *(table[column] for column in ("model", "rival", "site", "task")), strict=True
        )
    ]
    texts = ["" if ours == theirs else f"{ours} {theirs}" for ours, theirs in pairs]
    return pd.Series(texts, index=table.index, dtype="object")


def _digests(seeds: Sequence[pd.DataFrame], unseen: Collection[str]) -> Digests:
    each: dict[tuple[str, str], list[str]] = {}
    for rows in seeds:
        known = rows[rows["truth"].notna()]
        for (task, site), part in known.groupby(["task", "site"], observed=True):
            each.setdefault((str(task), str(site)), []).append(_digest(part, Task(str(task))))
    found = {key: " ".join(parts) for key, parts in sorted(each.items())}
    several: dict[tuple[str, str], list[str]] = {}
    for (task, site), digest in found.items():
        for name, never in _JOINT:
            if (site in unseen) is never:
                several.setdefault((task, name), []).append(f"{site} {digest}")
    joint = {key: " ".join(parts) for key, parts in several.items()}
    return {key: sha256(text.encode()).hexdigest() for key, text in (found | joint).items()}


def _digest(rows: pd.DataFrame, task: Task) -> str:
    """Of one task at one site, whatever the order of the rows."""
    numbers = ["prediction", *(f"p{c}" for c in range(TASKS[task].outputs) if f"p{c}" in rows)]
    clips = rows[["dataset", "clip_id"]].astype(str)
    values = rows[numbers].astype("float64").fillna(np.inf)  # a NaN has many bit patterns
    table = pd.concat([clips, values], axis=1).sort_values(["dataset", "clip_id"])
    return sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()).hexdigest()
