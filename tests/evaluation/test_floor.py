"""The floor without a network, against scikit-learn and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import Ridge as Reference

from echofm_core.data.windows import ClipWindows
from echofm_core.evaluation.floor import PENALTIES, fit_ridge, floor_predictions, grey_statistics
from echofm_core.tasks import Task
from echofm_core.training.config import FinetuneConfig
from echofm_core.training.predict import COLUMNS
from tests.training.site import DATA, make_site

CONFIG = FinetuneConfig(tasks=(Task.EF, Task.EDV, Task.REDUCED_EF, Task.AS_GRADE))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipWindows]:
    yield make_site(Path(tmp_path_factory.mktemp("site")))


def part(clips: ClipWindows, patients: range) -> ClipWindows:
    names = {f"patient-{number}" for number in patients}
    rows = clips.manifest[clips.manifest["patient_id"].isin(names)]
    return ClipWindows(clips.store, rows, DATA)


def test_features_are_logs_of_deviation_and_mean_of_each_cell(clips: ClipWindows) -> None:
    """32 pixels hold 32 cells of one pixel: the deviation over the four frames, then the mean."""
    frames = clips.test_windows(5)[0].frames.astype(float)
    expected = [np.log(frames.std(axis=0) + 1).ravel(), np.log(frames.mean(axis=0) + 1).ravel()]
    np.testing.assert_allclose(grey_statistics(clips)[5], np.concatenate(expected))


@pytest.mark.parametrize(("rows", "columns"), [(30, 80), (80, 30)])
def test_ridge_is_that_of_scikit_learn_with_the_penalty_that_left_out_rows_like_best(
    rows: int, columns: int
) -> None:
    """Wide and tall. The reference searches penalties by itself, fold by fold."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, columns)) * rng.uniform(0.1, 10, columns)
    targets = features[:, :3] @ rng.normal(size=(3, 2)) + rng.normal(size=(rows, 2))
    folds = np.arange(rows) % 5

    def reference(penalty: float, chosen: np.ndarray, asked: np.ndarray) -> np.ndarray:
        mean, sd = features[chosen].mean(axis=0), features[chosen].std(axis=0) + 1e-6
        model = Reference(alpha=penalty * chosen.sum())
        model.fit((features[chosen] - mean) / sd, targets[chosen])
        return np.asarray(model.predict((features[asked] - mean) / sd))

    errors = []
    for penalty in PENALTIES:
        parts = [(folds != fold, folds == fold) for fold in range(5)]
        left = [reference(penalty, fit, out) - targets[out] for fit, out in parts]
        errors.append(np.square(np.concatenate(left)).mean())
    everything = np.ones(rows, dtype=bool)
    expected = reference(PENALTIES[int(np.argmin(errors))], everything, everything)
    found = fit_ridge(features, targets, folds)
    np.testing.assert_allclose(found(features), expected, rtol=1e-6, atol=1e-8)
    assert found.residual == pytest.approx(np.sqrt(min(errors)))


def test_rows_are_those_of_a_model_and_read_the_ef_of_a_beating_disc(clips: ClipWindows) -> None:
    """Patients 0, 2, 4, 6, 7 teach; 1, 3, 5 are asked: EF 25, 35 and 45, two clips each."""
    names = {f"patient-{number}" for number in (0, 2, 4, 6, 7)}
    train = ClipWindows(clips.store, clips.manifest[clips.manifest["patient_id"].isin(names)], DATA)
    asked = clips.manifest["patient_id"].isin({"patient-1", "patient-3", "patient-5"})
    test = ClipWindows(clips.store, clips.manifest[asked], DATA)
    table = floor_predictions(train, test, CONFIG, seed=3, site="here")
    assert list(table.columns) == COLUMNS
    assert table["task"].value_counts().to_dict() == {"ef": 6, "edv": 6, "reduced_ef": 6}
    ef = table[table["task"] == "ef"]
    assert ef["truth"].tolist() == [25, 25, 35, 35, 45, 45]
    assert np.abs(ef["prediction"] - ef["truth"]).max() < 10
    assert np.corrcoef(ef["prediction"].astype(float), ef["truth"].astype(float))[0, 1] > 0.8
    reduced = table[table["task"] == "reduced_ef"].set_index("clip_id")["prediction"]
    by_ef = ef.set_index("clip_id")["prediction"]
    assert reduced.sort_values().index.tolist() == by_ef.sort_values().index.tolist()[::-1]
    # 50 % is as likely above as below an estimate of 50: the residual follows from one clip.
    one, other = reduced.index[:2]
    residual = (50 - by_ef[one]) / norm.ppf(reduced[one])
    assert norm.cdf((50 - by_ef[other]) / residual) == pytest.approx(reduced[other], abs=1e-3)
    again = floor_predictions(train, test, CONFIG, seed=3, site="here")
    assert table.equals(again)


def test_classes_have_probabilities_and_the_most_probable_one(clips: ClipWindows) -> None:
    """All clips are given a grade by their patient, who is easy to tell: the training clips come
    back as they are."""
    graded = clips.manifest.assign(as_grade=[float(row // 2 % 3) for row in range(len(clips))])
    windows = ClipWindows(clips.store, graded, DATA)
    config = CONFIG.model_copy(update={"tasks": (Task.AS_GRADE,)})
    table = floor_predictions(windows, windows, config, seed=3, site="here")
    shares = table[[f"p{index}" for index in range(5)]].to_numpy(dtype=float)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert table["prediction"].tolist() == shares.argmax(axis=1).tolist()
    assert (table["prediction"] == table["truth"]).mean() > 0.9


def test_what_too_few_patients_or_one_label_teach_is_left_out(clips: ClipWindows) -> None:
    """Four patients with an EF, two with a grade; and nobody at all."""
    few = part(clips, range(4))
    assert floor_predictions(few, clips, CONFIG, seed=3, site="here").empty
    graded = part(clips, range(8, 12))
    assert floor_predictions(graded, clips, CONFIG, seed=3, site="here").empty
    nobody = part(clips, range(0))
    assert list(floor_predictions(nobody, clips, CONFIG, seed=3, site="h").columns) == COLUMNS
    same = ClipWindows(clips.store, clips.manifest.assign(ef=50.0, edv=100.0), DATA)
    assert floor_predictions(same, clips, CONFIG, seed=3, site="here").empty
