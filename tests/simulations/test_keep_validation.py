"""Which predictions of validation patients a run folder keeps."""

from pathlib import Path

import pandas as pd

from client.testing import VALIDATION_PREDICTIONS
from echofm_core.plan.document import Plan
from echofm_core.tasks import Task
from simulations.arms import Arm, keep_validation
from tests.evaluation.made import prediction_rows


def arm(name: str, model: str) -> Arm:
    return Arm(name=name, model=model, train=("A", "B", "C"), test=(), tasks=(), trainers=3)


def test_those_of_the_sites_that_trained_for_the_models_that_are_looked_at(tmp_path: Path) -> None:
    """A has two patients, B none with a label, C was not asked, D did not train."""
    plan = Plan()
    for site, count in (("A", 2), ("B", 0), ("D", 3)):
        home = tmp_path / "sites" / site / plan.run_name()
        home.mkdir(parents=True)
        rows = prediction_rows({site: count}, (Task.EF,))
        rows.to_parquet(home / VALIDATION_PREDICTIONS)
    for name, model in (
        ("federated", "federated"), ("without:D", "leave_one_out"), ("pooled", "pooled"),
    ):  # fmt: skip
        keep_validation(arm(name, model), tmp_path, plan, tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "validation").iterdir())
    assert kept == ["federated.parquet", "without-D.parquet"]
    rows = pd.read_parquet(tmp_path / "run" / "validation" / "federated.parquet")
    assert set(rows["site"]) == {"A"} and rows["patient_id"].nunique() == 2
