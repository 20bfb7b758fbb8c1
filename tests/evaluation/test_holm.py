"""Holm's correction against a worked example and against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from echofm_core.evaluation.holm import holm


def test_a_worked_example() -> None:
    """p = .01, .04, .03, .005 (the example of the encyclopaedias on the Holm-Bonferroni method):
    4 * .005 = .02, 3 * .01 = .03, 2 * .03 = .06, 1 * .04 = .04, which may not fall below .06."""
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_none_is_above_one_and_nothing_is_nothing() -> None:
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.sampled_from([0.01, 0.05, 0.2]))
def test_it_rejects_what_the_step_down_procedure_rejects(p: list[float], alpha: float) -> None:
    """Holm's procedure as he wrote it: from the smallest p on, reject while p < alpha / (those
    that are left), and stop at the first that is not."""
    rejected = [False] * len(p)
    for step, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if (len(p) - step) * p[index] >= alpha:
            break
        rejected[index] = True
    assert (holm(np.array(p)) < alpha).tolist() == rejected
