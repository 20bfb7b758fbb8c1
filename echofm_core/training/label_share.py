"""Whose labels fine-tuning uses, where a plan gives it a share of them (``label_fraction``).

Patients are ranked by a key of (seed, site, patient), and the first of them keep their labels. So
a smaller share is a part of a larger one, pooled data have the patients that their sites have, and
where a patient comes or withdraws at most one other changes sides.

Training patients alone are drawn. Validation patients keep their labels: a share of them would
leave one or two at a small site, whose loss would choose a round by chance, and arms with unlike
shares would differ in that choice too. Whoever claims what few labels can do therefore leaves
``federation.select`` at ``last`` and ``patience`` at 0: then no validation label decides anything.
"""

import pandas as pd

from echofm_core.data.manifest import Split
from echofm_core.data.patients import patient_keys
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Select
from echofm_core.runtime.randomness import stream_key
from echofm_core.tasks import TASKS
from echofm_core.training.config import FinetuneConfig

#: Of the streams that rank patients, with the patient behind it.
PURPOSE = "finetune.labels"


def withheld(clips: pd.DataFrame, config: FinetuneConfig, seed: int) -> pd.Series:
    """Which clips are of labelled patients whose labels fine-tuning does not use.

    Args:
        clips: Training clips of the views that are used; their column ``site`` says whose they are.
        config: Share of patients, and the tasks whose labels count.
        seed: The plan's.

    Returns:
        Bool (N,), index as of the clips. A site with labelled patients keeps at least one of them.
    """
    sites, people = clips["site"].astype(str), patient_keys(clips)
    labelled = clips[_columns(config)].notna().any(axis=1)
    rest: list[str] = []
    for site, rows in people[labelled].groupby(sites[labelled]):  # nobody is at two sites
        ranks = {
            name: stream_key(seed, str(site), 0, f"{PURPOSE}.{name}") for name in rows.unique()
        }
        ranked = sorted(ranks, key=ranks.__getitem__)
        rest += ranked[max(1, round(config.label_fraction * len(ranked))) :]
    return people.isin(rest)


def as_trained(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """A manifest of all splits as a plan trains on it: to count clips, patients and labels by.

    Clips of patients whose labels fine-tuning does not use have none of them; without pre-training
    they are left out. The manifest is of clips that are in a store, as sites draw among these.
    """
    if plan.finetune.label_fraction == 1 or not plan.finetune.rounds:
        return manifest
    train = _training(manifest, plan)
    hidden = withheld(train, plan.finetune, plan.seed).reindex(manifest.index, fill_value=False)
    if not plan.pretrain.rounds:
        return manifest[~hidden]
    columns = _columns(plan.finetune)
    return manifest.assign(**{name: manifest[name].mask(hidden) for name in columns})


def label_share_notes(plan: Plan, manifest: pd.DataFrame | None = None) -> list[str]:
    """A sentence for the readers of a run that uses a share of labels.

    The manifest, where it is known here, has all labels; the patients of each site are counted.
    """
    config = plan.finetune
    if config.label_fraction == 1 or not config.rounds:
        return []
    counts = ""
    if manifest is not None:
        every, used = _patients(manifest, plan), _patients(as_trained(manifest, plan), plan)
        counts = ": " + ", ".join(f"{used[site]} of {every[site]} at {site}" for site in every)
    chooses = plan.federation.select is Select.BEST or config.patience
    return [
        f"finetune.label_fraction is {config.label_fraction:g}: fine-tuning uses the labels of "
        f"that share of each site's labelled training patients{counts}. Validation patients keep "
        f"theirs{', and they choose the round' if chooses else ''}."
    ]


def _patients(manifest: pd.DataFrame, plan: Plan) -> dict[str, int]:
    """Site -> training patients with a label."""
    train = _training(manifest, plan)
    labelled = train[train[_columns(plan.finetune)].notna().any(axis=1)]
    people = patient_keys(labelled).groupby(labelled["site"].astype(str)).nunique()
    return {str(site): int(count) for site, count in people.items()}


def _training(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Training clips of the views that are used."""
    rows = manifest[manifest["split"] == Split.TRAIN.value]
    views = list(plan.protocol.views)
    return rows[rows["view"].isin(views)] if views else rows


def _columns(config: FinetuneConfig) -> list[str]:
    return sorted({TASKS[task].column for task in config.tasks})
