"""Conformal intervals of EF by site: what they promise, and what they hold at each site."""

import numpy as np
import pandas as pd

from echofm_core.evaluation.conformal import NOMINAL, Coverage, coverage
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT, model_title
from echofm_core.evaluation.score import JOINT, Cases, study_cases, test_sets
from echofm_core.evaluation.score_table import TOO_FEW
from echofm_core.evaluation.strata import shown_models
from echofm_core.pages.grid import Grid
from echofm_core.report.run_files import RunFiles
from echofm_core.tasks import TASKS, Task

COLUMNS = (
    "model", "tested at", "the model saw the site", "n", f"coverage (promised {NOMINAL:.0%})",
    "mean width (points)", "found on",
)  # fmt: skip


def conformal_table(run: RunFiles) -> Grid | None:
    """A row a model and site, of the models that are looked at.

    Widths are found on validation patients of all sites that trained the model: leaving a site out
    leaves its validation patients out too. None without predictions of validation patients.
    """
    rows = []
    for model in shown_models(run.predictions):
        cases = study_cases(run.predictions[model], Task.EF)
        for site, here in test_sets(cases, run.unseen).items() if len(cases.truth) else ():
            left_out = model == LEAVE_ONE_OUT
            arm = run.validation.get(f"without-{site}" if left_out else model)
            if site in JOINT or arm is None:
                continue
            seen = "no" if left_out or site in run.unseen else "yes"
            head = (model_title(model), site, seen, str(here.patient_count))
            rows.append((*head, *_numbers(arm, here, run.plan.evaluation.min_patients)))
    return Grid(columns=COLUMNS, rows=tuple(rows), numbers=frozenset({3})) if rows else None


def _numbers(arm: pd.DataFrame, here: Cases, few: int) -> tuple[str, str, str]:
    validation, spec = study_cases(arm, Task.EF), TASKS[Task.EF]
    finite = np.isfinite(here.prediction).all() and np.isfinite(validation.prediction).all()
    if here.patient_count < few or not finite:
        return (TOO_FEW if finite else "undefined", "", "")
    found = coverage(validation, here, spec.low, spec.high)
    return (_share(found), f"{found.width:.1f}", f"{found.validation} validation patients")


def _share(found: Coverage) -> str:
    return f"{found.coverage:.0%}"
