import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from echofm_core.data.manifest import load_manifest, manifest_from_rows, save_manifest
from echofm_core.tasks import STANDARDISATION, TASKS, Task
from echofm_core.training.objectives.targets import enlarged, labels_of, targets_of, to_units


@pytest.fixture
def manifest() -> pd.DataFrame:
    base = {"dataset": "d", "path": "/x"}
    return manifest_from_rows(
        [
            base | {"patient_id": "a", "clip_id": "a", "ef": 50.0, "esv": 40.0, "view": "PLAX"},
            base | {"patient_id": "b", "clip_id": "b", "ef": 49.9, "as_grade": 3},
            base | {"patient_id": "c", "clip_id": "c"},
        ]
    )


def test_labels_are_what_the_manifest_says(manifest: pd.DataFrame) -> None:
    labels = labels_of(manifest, list(Task), 50.0)
    nan = np.nan
    np.testing.assert_array_equal(labels[Task.REDUCED_EF], [0, 1, nan])
    np.testing.assert_array_equal(labels[Task.VIEW], [2, nan, nan])
    np.testing.assert_array_equal(labels[Task.AS_GRADE], [nan, 3, nan])
    np.testing.assert_array_equal(labels[Task.EDV], [nan, nan, nan])
    assert all(values.dtype == np.float32 for values in labels.values())


def test_five_grades_become_the_publishers_three_classes() -> None:
    """None; mild and mild to moderate; moderate and severe."""
    rows = [
        {"dataset": "d", "path": "/x", "patient_id": str(i), "clip_id": str(i), "as_grade": grade}
        for i, grade in enumerate([0, 1, 2, 3, 4, None])
    ]
    labels = labels_of(manifest_from_rows(rows), [Task.AS_CLASS, Task.AS_GRADE], 50.0)
    np.testing.assert_array_equal(labels[Task.AS_CLASS], [0, 1, 1, 2, 2, np.nan])
    np.testing.assert_array_equal(labels[Task.AS_GRADE], [0, 1, 2, 3, 4, np.nan])


def test_grades_and_classes_of_stenosis_are_labels_of_one_task(tmp_path: Path) -> None:
    """A site with grades (severe), one with three classes (early), one with neither."""
    rows = [
        {"dataset": name, "path": "/x", "patient_id": "p", "clip_id": name, **label}
        for name, label in (("a", {"as_grade": 4}), ("b", {"as_class": 1}), ("c", {}))
    ]
    save_manifest(manifest_from_rows(rows), tmp_path / "m.parquet")
    labels = labels_of(load_manifest(tmp_path / "m.parquet"), [Task.AS_CLASS, Task.AS_GRADE], 50.0)
    np.testing.assert_array_equal(labels[Task.AS_CLASS], [2, 1, np.nan])
    np.testing.assert_array_equal(labels[Task.AS_GRADE], [4, np.nan, np.nan])


def test_what_counts_as_reduced_is_a_parameter(manifest: pd.DataFrame) -> None:
    """EF 50 and 49.9: both are below 55, neither below 45."""
    for threshold, expected in ((55.0, [1, 1]), (45.0, [0, 0])):
        reduced = labels_of(manifest, [Task.REDUCED_EF], threshold)[Task.REDUCED_EF]
        np.testing.assert_array_equal(reduced[:2], expected)


def test_targets_by_hand(manifest: pd.DataFrame) -> None:
    """EF 50 is (50 - 55) / 12; ESV 40 ml is (ln 40 - 3.7) / 0.5."""
    targets = targets_of(manifest, (Task.EF, Task.ESV), 50.0, STANDARDISATION)
    assert targets[Task.EF][0] == pytest.approx(-0.416667, abs=1e-5)
    assert targets[Task.ESV][0] == pytest.approx((math.log(40) - 3.7) / 0.5, abs=1e-5)
    assert np.isnan(targets[Task.ESV][1:]).all()


@pytest.mark.parametrize(("task", "values"), [(Task.EF, [0, 31.5, 100]), (Task.EDV, [5.0, 250])])
def test_units_undo_targets(task: Task, values: list[float]) -> None:
    column = TASKS[task].column
    rows = [
        {"dataset": "d", "path": "/x", "patient_id": str(i), "clip_id": str(i), column: value}
        for i, value in enumerate(values)
    ]
    for scaling in (STANDARDISATION, {task: (2.5, 0.7)}):
        target = targets_of(manifest_from_rows(rows), [task], 50.0, scaling)[task]
        found = to_units(task, torch.from_numpy(target)[:, None], scaling)
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4)


def test_the_plan_may_name_the_scaling_of_a_task(manifest: pd.DataFrame) -> None:
    """EF 50 is (50 - 40) / 5 = 2.

    Back: 2 is 50 %, and 0.5 of ln ESV with mean ln 80 and deviation 2 ln 2 is 160 ml.
    """
    targets = targets_of(manifest, [Task.EF], 50.0, {Task.EF: (40.0, 5.0)})
    assert targets[Task.EF][0] == pytest.approx(2.0)
    assert to_units(Task.EF, torch.tensor([[2.0]]), {Task.EF: (40.0, 5.0)})[0] == 50
    logged = {Task.ESV: (math.log(80), 2 * math.log(2))}
    assert to_units(Task.ESV, torch.tensor([[0.5]]), logged)[0] == pytest.approx(160, rel=1e-5)


def test_a_heart_drawn_larger_has_a_larger_volume_and_the_same_ef() -> None:
    """Twice as large is ln 2 more, over a deviation of 0.5 for ESV or of what the plan names."""
    target, twice = torch.tensor([0.5, math.nan]), torch.full((2,), math.log(2))
    found = enlarged(Task.ESV, target, twice, STANDARDISATION)
    assert found[0] == pytest.approx(0.5 + math.log(2) / 0.5) and found[1].isnan()
    assert to_units(Task.ESV, found[:1, None], STANDARDISATION)[0] == pytest.approx(
        2 * to_units(Task.ESV, target[:1, None], STANDARDISATION)[0], rel=1e-5
    )
    named = {Task.EDV: (4.0, 0.5)}
    assert enlarged(Task.EDV, target, twice, named)[0] == pytest.approx(0.5 + math.log(2) / 0.5)
    for task in (Task.EF, Task.REDUCED_EF, Task.AS_GRADE, Task.VIEW):
        assert enlarged(task, target, twice, {}) is target


def test_classes_become_probabilities_and_regression_stays_legal() -> None:
    """Logit ln 3 is probability 3/4; logits ln 1, ln 3 are 1/4 and 3/4 of two classes."""
    assert to_units(Task.REDUCED_EF, torch.tensor([[math.log(3)]]), {})[0] == pytest.approx(0.75)
    logits = torch.tensor([[0.0, math.log(3), -1e9, -1e9, -1e9]])
    np.testing.assert_allclose(
        to_units(Task.AS_GRADE, logits, {})[0], [0.25, 0.75, 0, 0, 0], atol=1e-6
    )
    assert to_units(Task.EF, torch.tensor([[99.0]]), STANDARDISATION)[0] == 100
    assert to_units(Task.EDV, torch.tensor([[99.0]]), STANDARDISATION)[0] == 1000
