"""EF error by subgroup, on rows whose groups are known."""

import numpy as np
import pandas as pd
import pytest

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.subgroups import subgroup_errors
from echofm_core.tasks import Task
from tests.evaluation.made import prediction_rows

CONFIG = EvaluationConfig(bootstrap=200, min_patients=10)


def rows() -> pd.DataFrame:
    """40 patients: 22 women, errors of +2; 14 men, errors of -6; 4 unknown. Ages 17, 18, 44, 45
    in turn; quality Good for 31 and Poor for 9; one vendor."""
    table = prediction_rows({"A": 40}, (Task.EF,))
    sex = np.array(["F"] * 22 + ["M"] * 14 + [None] * 4, dtype=object)
    error = np.select([sex == "F", sex == "M"], [2.0, -6.0], 1.0)
    return table.assign(
        prediction=table["truth"] + error,
        sex=pd.array(sex, dtype="string"),
        age=pd.array([17.0, 18, 44, 45] * 10, dtype="Float32"),
        quality=pd.array(["Good"] * 31 + ["Poor"] * 9, dtype="string"),
        vendor=pd.array(["GE"] * 40, dtype="string"),
    )


def test_groups_have_their_own_errors_and_small_ones_are_hidden() -> None:
    found = {(one.attribute, one.group): one for one in subgroup_errors(rows(), CONFIG, 0)}
    women, men = found["sex", "F"], found["sex", "M"]
    assert women.mae and women.bias and men.mae and men.bias
    assert (women.patients, women.mae.value, women.bias.value) == (22, *[pytest.approx(2)] * 2)
    assert (men.patients, men.mae.value, men.bias.value) == (
        14,
        pytest.approx(6),
        pytest.approx(-6),
    )
    for key in (("sex", "not recorded"), ("quality", "Poor")):
        assert (found[key].patients, found[key].mae, found[key].bias) == (0, None, None)
    assert not {"vendor", "view"} & {attribute for attribute, _ in found}, "one group is no group"


def test_age_bands_begin_at_their_age() -> None:
    """17 is under 18; 18 and 44 are one band; 45 begins the next."""
    found = [one for one in subgroup_errors(rows(), CONFIG, 0) if one.attribute == "age"]
    assert [(one.group, one.patients) for one in found] == [
        ("under 18", 10), ("18 to 44", 20), ("45 to 64", 10),
    ]  # fmt: skip


def test_a_study_of_two_views_counts_in_both_with_its_own_clips() -> None:
    """Clips of A4C are right, those of A2C 8 points too high; their mean is 4."""
    table = prediction_rows({"A": 12}, (Task.EF,), clips=2)
    view = np.where(np.arange(len(table)) % 2, "A2C", "A4C")
    table = table.assign(view=view, prediction=table["truth"] + np.where(view == "A2C", 8.0, 0))
    values = {one.group: one.mae.value for one in subgroup_errors(table, CONFIG, 0) if one.mae}
    assert values == pytest.approx({"A2C": 8, "A4C": 0})


def test_tables_without_the_columns_or_without_ef_have_none() -> None:
    assert subgroup_errors(prediction_rows({"A": 20}, (Task.EF,)), CONFIG, 0) == []
    assert subgroup_errors(rows().iloc[:0], CONFIG, 0) == []
