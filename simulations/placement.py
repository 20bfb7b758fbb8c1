"""What a reader must know of who is at which site: patients without labels, groups, and bands."""

import pandas as pd

from echofm_core.data.patients import patient_keys
from echofm_core.plan.document import Plan
from echofm_core.plan.protocol import ProtocolName
from echofm_core.runtime.text import many
from echofm_core.tasks import TASKS
from simulations.protocols.assign import RULES
from simulations.protocols.grouped import OTHER, Grouped


def placement_notes(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    """Sentences for the readers of a run, from its manifest with all sites and splits."""
    return [*_other(manifest, plan), *_bands(manifest, plan), *_unlabelled(manifest, plan)]


def _other(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    count = patient_keys(manifest[manifest["site"] == OTHER]).nunique()
    if not isinstance(RULES[plan.protocol.name], Grouped) or not count:
        return []
    return [
        f"The site {OTHER} holds {many(count, 'patient')} whose group is not known or has fewer "
        f"than {plan.protocol.min_patients}."
    ]


def _bands(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    if plan.protocol.name is not ProtocolName.ACQUISITION:
        return []
    column = plan.protocol.acquisition.value
    rows = manifest[manifest["site"] != OTHER]
    medians = rows.groupby(patient_keys(rows)).agg({column: "median", "site": "first"})
    ranges = medians.groupby("site")[column].agg(["min", "max"])
    bands = (f"{site} {row['min']:.4g} to {row['max']:.4g}" for site, row in ranges.iterrows())
    return [f"Bands of {column}, by the median of a patient's clips: {', '.join(bands)}."]


def _unlabelled(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    """Patients without a label for any planned task, in the views that are used."""
    if not plan.finetune.rounds:
        return []
    labels = manifest[sorted({TASKS[task].column for task in plan.finetune.tasks})]
    used = labels.notna().any(axis=1)
    if plan.protocol.views:
        used &= manifest["view"].isin(list(plan.protocol.views))
    people = pd.DataFrame({"key": patient_keys(manifest), "site": manifest["site"], "used": used})
    whole = people.groupby(["site", "key"])["used"].any()
    without = (~whole).groupby("site").sum()
    parts = [f"{count} at {site}" for site, count in without.items() if count]
    if not parts:
        return []
    return [
        f"{int(without.sum())} of {many(len(whole), 'patient')} have no label for a planned task "
        f"in the views that are used ({', '.join(parts)}): their clips are for pre-training alone."
    ]


def lent_notes(plan: Plan) -> list[str]:
    """A sentence where models pre-train on clips of sites that they are not to see."""
    if not plan.protocol.unlabelled_target:
        return []
    return [
        "protocol.unlabelled_target is true: models without a site, and without those never seen, "
        "have pre-trained on training clips from there, without labels; no test patient is among "
        "them."
    ]
