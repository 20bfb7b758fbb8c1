"""Which predictions of validation patients a run folder keeps."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from client.state import validation_file
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.tasks import Task
from simulations.arm_predictions import keep_validation, validation_of
from simulations.arms import Arm, plan_arms
from tests.evaluation.made import prediction_rows
from tests.simulations.test_arms import manifest


def arm(name: str, model: str) -> Arm:
    return Arm(name=name, model=model, train=("A", "B", "C"), test=(), tasks=(), trainers=3)


def test_those_of_the_sites_that_trained_for_the_models_that_are_looked_at(tmp_path: Path) -> None:
    """A has two patients, B none with a label, C was not asked, D did not train."""
    plan = Plan()
    for site, count in (("A", 2), ("B", 0), ("D", 3)):
        home = tmp_path / "sites" / site / plan.run_name()
        home.mkdir(parents=True)
        rows = prediction_rows({site: count}, (Task.EF,))
        rows.to_parquet(home / validation_file())
    for name, model in (
        ("federated", "federated"), ("without:D", "leave_one_out"), ("pooled", "pooled"),
    ):  # fmt: skip
        keep_validation(arm(name, model), tmp_path, plan, tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "validation").iterdir())
    assert kept == ["federated.parquet", "without-D.parquet"]
    rows = pd.read_parquet(tmp_path / "run" / "validation" / "federated.parquet")
    assert set(rows["site"]) == {"A"} and rows["patient_id"].nunique() == 2


def write_everywhere(folder: Path, plan: Plan) -> None:
    """Every site wrote predictions of two validation patients, as each one that is tested does."""
    for site in ("A", "B", "C", "D", "all"):
        home = folder / "sites" / site / plan.run_name()
        home.mkdir(parents=True)
        prediction_rows({site: 2}, (Task.EF,)).to_parquet(home / validation_file())
        own = prediction_rows({site: 1}, (Task.EF,))
        own.to_parquet(home / validation_file("personal"))


def test_nobody_of_a_site_that_is_left_out_or_never_seen_judges_a_model(tmp_path: Path) -> None:
    """Both are tested, and so wrote predictions of their validation patients. Without A, B, C and D
    train; with B never seen, A, C and D do, and pooled data are one site of all that train."""
    plan = plan_from_mapping({"protocol": {"unseen": ["B"]}}, "test")
    write_everywhere(tmp_path, plan)
    whole = {arm.name: arm for arm in plan_arms(manifest(), Plan())[0]}
    seen = {arm.name: arm for arm in plan_arms(manifest(), plan)[0]}
    assert "A" in whole["without:A"].test and "B" in seen["federated"].test
    for own, expected in (
        (whole["without:A"], {"B", "C", "D"}),
        (seen["federated"], {"A", "C", "D"}),
        (whole["local:B"], {"B"}),
        (seen["pooled"], {"all"}),
        (replace(seen["federated"], given={"D": "_unlabelled-D"}), {"A", "C"}),
    ):
        assert set(validation_of(own, tmp_path, plan)["site"]) == expected, own.name


def test_a_model_of_a_sites_own_is_judged_by_its_own_predictions(tmp_path: Path) -> None:
    write_everywhere(tmp_path, Plan())
    own = replace(arm("ditto", "ditto"), tested="personal")
    rows = validation_of(own, tmp_path, Plan())
    assert rows.groupby("site")["patient_id"].nunique().to_dict() == {"A": 1, "B": 1, "C": 1}
