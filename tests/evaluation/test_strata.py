"""Errors by stratum of the reference, by hand."""

import math

import numpy as np
import pandas as pd

from echofm_core.evaluation.score import study_cases
from echofm_core.evaluation.strata import (
    STRATA,
    ef_strata,
    largest_lines,
    strata_errors,
    strata_lines,
    stratum_of,
    stratum_words,
)
from echofm_core.tasks import Task


def rows(site: str, pairs: list[tuple[float, float]]) -> pd.DataFrame:
    """One clip a patient: (reference, prediction)."""
    return pd.DataFrame(
        [
            (site, site, f"{site}{n}", f"{site}{n}", f"{site}{n}", "ef", truth, guess)
            for n, (truth, guess) in enumerate(pairs)
        ],
        columns=[
            "dataset", "site", "patient_id", "study_id", "clip_id", "task", "truth", "prediction",
        ],
    )  # fmt: skip


def test_where_the_strata_begin_and_end() -> None:
    edges = np.array([0, 34.9, 35, 49.9, 50, 65, 65.1, 100])
    assert [STRATA[index] for index in stratum_of(edges)] == [
        "EF < 35", "EF < 35", "EF 35-50", "EF 35-50", "EF 50-65", "EF 50-65", "EF > 65", "EF > 65",
    ]  # fmt: skip


def test_a_small_error_over_all_hides_two_large_ones() -> None:
    """Errors +12, +14 below 35, and -13, -13 above 65: 0 over all, +13 and -13 by stratum."""
    table = rows("A", [(20, 32), (30, 44), (70, 57), (80, 67)])
    found = {one.title: one for one in strata_errors(study_cases(table, Task.EF))}
    assert (found["EF < 35"].bias, found["EF < 35"].mae, found["EF < 35"].patients) == (13, 13, 2)
    assert (found["EF > 65"].bias, found["EF > 65"].mae, found["EF > 65"].patients) == (-13, 13, 2)
    assert found["EF 35-50"].patients == 0 and math.isnan(found["EF 35-50"].bias)
    assert stratum_words(found["EF < 35"], 2) == "+13.0 (n 2)"
    assert stratum_words(found["EF < 35"], 3) == "+13.0 (n 2, too few to judge)"
    assert stratum_words(found["EF 35-50"], 2) == "nobody"


def test_patients_are_counted_and_not_studies() -> None:
    table = rows("A", [(20, 30), (25, 30)]).assign(patient_id="p")
    assert strata_errors(study_cases(table, Task.EF))[0].patients == 1


def test_the_sentences_name_the_site_the_stratum_and_the_sign() -> None:
    """Site A: -2 below 35 (two patients). Site B: +9 below 35, one patient alone, and +1 at
    50-65 (two). Of two and more the largest is A's -2; B's +9 is larger and is not hidden."""
    seen = pd.concat([rows("A", [(30, 28), (30, 28)]), rows("B", [(30, 39), (60, 61), (60, 61)])])
    strata = ef_strata({"federated": seen, "pooled": seen})
    assert strata_lines(strata, 2) == [
        "EF error in points, federated over all sites: EF < 35 +1.7 (n 3); EF 35-50 nobody; "
        "EF 50-65 +1.0 (n 2); EF > 65 nobody."
    ]
    assert largest_lines(strata, 2) == [
        "Largest EF error at one site, federated: EF < 35 at A -2.0 (n 2); "
        "EF < 35 at B +9.0 (n 1, too few to judge)."
    ]


def test_the_unseen_site_model_is_looked_at_too_and_a_model_alone() -> None:
    one = rows("A", [(30, 44)])
    assert [found.model for found in ef_strata({"federated": one, "leave_one_out": one})] == [
        "federated",
        "leave_one_out",
    ]
    assert [found.model for found in ef_strata({"alone": one})] == ["alone"]
    assert ef_strata({"federated": one.assign(task="esv")}) == []
