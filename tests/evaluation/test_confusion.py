"""Confusion matrices counted by hand."""

import numpy as np
import pandas as pd

from echofm_core.evaluation.decisions import confusion
from echofm_core.evaluation.score import Cases
from echofm_core.tasks import Task


def cases(truth: list[int], prediction: np.ndarray) -> Cases:
    return Cases(
        table=pd.DataFrame(index=range(len(truth))),
        truth=np.array(truth, dtype=float),
        prediction=prediction,
        patients=np.arange(len(truth)),
    )


def test_grades_reference_down_prediction_across() -> None:
    """none -> none, none -> severe, severe -> severe; the three grades between never occur."""
    said = np.eye(5)[[0, 4, 4]] * 0.9
    found = confusion(cases([0, 0, 4], said), Task.AS_GRADE)
    assert found is not None
    assert found.classes == ("none", "severe")
    assert found.counts == ((1, 1), (0, 1))


def test_a_class_that_is_only_predicted_is_shown() -> None:
    found = confusion(cases([1], np.array([[0.1, 0.2, 0.3, 0.4, 0.0]])), Task.AS_GRADE)
    assert found is not None
    assert (found.classes, found.counts) == (("mild", "moderate"), ((0, 1), (0, 0)))


def test_reduced_ef_is_said_from_a_half_on() -> None:
    """Probabilities .5 and .49 of two reduced, .2 of one that is not."""
    found = confusion(cases([1, 1, 0], np.array([0.5, 0.49, 0.2])), Task.REDUCED_EF)
    assert found is not None
    assert (found.classes, found.counts) == (("not reduced", "reduced"), ((1, 0), (1, 1)))


def test_nothing_and_not_a_number_have_no_matrix() -> None:
    assert confusion(cases([], np.zeros((0, 5))), Task.AS_GRADE) is None
    assert confusion(cases([1], np.array([np.nan])), Task.REDUCED_EF) is None
