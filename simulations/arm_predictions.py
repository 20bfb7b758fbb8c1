"""What the sites of an arm wrote at home when it was tested, by model."""

from pathlib import Path

import pandas as pd

from client.state import predictions_file, validation_file
from echofm_core.evaluation.model_names import (
    ALONE,
    FEDERATED,
    LAST_STEP,
    LEAVE_ONE_OUT,
    PERSONAL,
)
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import write_whole
from simulations.arms import Arm


def own_models(plan: Plan) -> tuple[str, ...]:
    """Models that each site of a plan has of its own, beside the shipped one."""
    personal = plan.personal
    return (PERSONAL,) * bool(personal.ditto) + (LAST_STEP,) * bool(personal.last_steps)


def predictions_of(arm: Arm, folder: Path, plan: Plan) -> pd.DataFrame:
    """What the sites of an arm wrote at home, by its model; a task nobody trained is left out.

    A site that did not train has no model of its own, and is left out where that is tested; so is
    one that lent its clips alone, whose labels no model of the table may learn from.

    Raises:
        FederationError: A site was not tested.
    """
    parts = []
    for site in arm.test:
        home = folder / "sites" / site / plan.run_name()
        path = home / predictions_file(arm.tested)
        own = path.exists() and site not in arm.given
        if arm.tested and not own and (home / predictions_file()).exists():
            continue
        if not path.exists():
            raise FederationError(
                f"model {arm.name} was not tested at {site}; {folder}/evaluation.json "
                "says why: mend it and go on with --resume."
            )
        rows = pd.read_parquet(path)
        parts.append(rows[rows["task"].isin([task.value for task in arm.tasks])])
    return pd.concat(parts).assign(model=arm.model) if parts else pd.DataFrame()


def keep_validation(arm: Arm, folder: Path, plan: Plan, run: Path) -> None:
    """``validation/ARM.parquet`` in the run folder: what conformal intervals are found on.

    Validation patients of the sites that trained with their own labels, for the models that the
    page looks at; a site without test labels was not asked, and has none.
    """
    if arm.model not in (FEDERATED, LEAVE_ONE_OUT, ALONE):
        return
    if len(rows := validation_of(arm, folder, plan)):
        out = run / "validation" / f"{arm.name.replace(':', '-')}.parquet"
        write_whole(out, rows.to_parquet(index=False))


def validation_of(arm: Arm, folder: Path, plan: Plan) -> pd.DataFrame:
    """What an arm's model predicts for validation patients, as sites wrote it; may be empty.

    Of the sites that trained with their own labels, and of no other: not of one that was left out,
    that no model may see, or that lent its clips alone. A site without test labels was not asked.
    """
    homes = [
        folder / "sites" / site / plan.run_name() for site in arm.train if site not in arm.given
    ]
    paths = [home / validation_file(arm.tested) for home in homes]
    parts = [pd.read_parquet(path) for path in paths if path.exists()]
    known = [part for part in parts if len(part)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame()
