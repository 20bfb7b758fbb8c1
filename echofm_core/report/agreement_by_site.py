"""Bland-Altman's numbers of EF at each site, and whether the error grows with EF."""

from functools import partial

import numpy as np

from echofm_core.evaluation.bland_altman import bland_altman, proportional_bias
from echofm_core.evaluation.bootstrap import bootstrap
from echofm_core.evaluation.model_names import model_title
from echofm_core.evaluation.score import JOINT, study_cases, test_sets
from echofm_core.evaluation.score_table import TOO_FEW
from echofm_core.evaluation.strata import shown_models
from echofm_core.pages.grid import Grid
from echofm_core.report.run_files import RunFiles
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import Task

COLUMNS = ("model", "tested at", "n", "bias", "limits of agreement", "slope of the error on EF")


def agreement_by_site(run: RunFiles) -> Grid | None:
    """A row a model and site, of the models that are looked at; None without EF predictions.

    Limits are of studies; the slope has an interval over patients.
    """
    rows: list[tuple[str, ...]] = []
    config = run.plan.evaluation
    for model in shown_models(run.predictions):
        cases = study_cases(run.predictions[model], Task.EF)
        for site, here in test_sets(cases, run.unseen).items() if len(cases.truth) else ():
            if site in JOINT or not np.isfinite(here.prediction).all():
                continue
            head = (model_title(model), site, str(here.patient_count))
            if here.patient_count < config.min_patients:
                rows.append((*head, TOO_FEW, "", ""))
                continue
            found = bland_altman(here.truth, here.prediction)
            draws = stream(run.plan.seed, site, 0, "bootstrap.proportional")
            slope = bootstrap(
                partial(proportional_bias, here.truth, here.prediction),
                here.patients,
                config,
                draws,
            )["slope"]
            rows.append(
                (
                    *head,
                    f"{found.bias:+z.1f}",
                    f"{found.low:+z.1f} to {found.high:+z.1f}",
                    f"{slope.value:+z.2f} [{slope.low:+z.2f}, {slope.high:+z.2f}]",
                )
            )
    return Grid(columns=COLUMNS, rows=tuple(rows), numbers=frozenset({2})) if rows else None
