"""The AUC comparisons of a run by two tests: DeLong's beside the bootstrap's."""

import math

from echofm_core.evaluation.delong import delong_difference
from echofm_core.evaluation.model_names import model_order, model_title
from echofm_core.evaluation.paired import shared_clips
from echofm_core.evaluation.score import MEANS, WORST, study_cases
from echofm_core.evaluation.score_table import at
from echofm_core.pages.grid import Grid
from echofm_core.report.run_files import RunFiles
from echofm_core.tasks import Task

COLUMNS = ("against", "tested", "n", "AUC difference", "p, DeLong", "p, bootstrap")


def auc_test_table(run: RunFiles) -> Grid | None:
    """Reduced EF of the run's own model against each other model, at each site of ``paired``.

    Both p are of one comparison, before Holm's correction. None without such comparisons, or
    without predictions to test anew.
    """
    own = next(iter(model_order(run.predictions)), "")
    rows = run.paired[
        (run.paired["task"] == Task.REDUCED_EF.value)
        & (run.paired["metric"] == "auc")
        & (run.paired["model"] == own)
        & ~run.paired["site"].isin(MEANS | WORST)
        & run.paired["rival"].isin(list(run.predictions))
    ]
    cells, digits = [], 3
    for rival, group in rows.groupby("rival", sort=False):
        pair = shared_clips(run.predictions[own], run.predictions[str(rival)])
        ours, theirs = (study_cases(table, Task.REDUCED_EF) for table in pair)
        for site, patients, p in group[["site", "patients", "p"]].itertuples(index=False):
            here, there = ours.at(site), theirs.at(site)
            found = delong_difference(
                here.truth > 0.5,
                here.prediction,
                there.prediction,
                here.patients,
                run.plan.evaluation.confidence,
            )
            value, low, high = (f"{x:+z.{digits}f}" for x in found[:3])
            known = math.isfinite(found.p)  # else a class has one patient alone
            difference = f"{value} [{low}, {high}]" if known else value
            delong = f"{found.p:.3f}" if known else "undefined"
            numbers = (str(patients), difference, delong, f"{p:.3f}")
            cells.append((model_title(str(rival)), at(site), *numbers))
    numeric = frozenset(range(2, len(COLUMNS)))
    return Grid(columns=COLUMNS, rows=tuple(cells), numbers=numeric) if cells else None
