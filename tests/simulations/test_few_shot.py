"""Which patients a model is fine-tuned on where it has not been, derived by hand."""

import pandas as pd
import pytest

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.patients import patient_keys
from echofm_core.evaluation.few_shot import few_shot_lines
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.report.few_shot import few_shot_curves, few_shot_table
from echofm_core.runtime.errors import PlanError
from simulations.arms import plan_arms
from simulations.few_shot import FewShot, plan_shots


def manifest() -> pd.DataFrame:
    """Sites A, B, C: 6 training patients with an EF, 3 without, one to validate, one to test."""
    rows = []
    for site in "ABC":
        for number in range(11):
            split = {9: "val", 10: "test"}.get(number, "train")
            name = f"{site}{number}"
            ef = None if 6 <= number <= 8 else 50.0
            rows.append(
                {"dataset": site, "site": site, "patient_id": name, "clip_id": name, "path": "/x",
                 "split": split, "view": "A4C", "ef": ef}
            )  # fmt: skip
    return manifest_from_rows(rows)


def plan_for(shots: list[int], **tables: object) -> Plan:
    own = {"few_shot": shots, "baselines": ["leave_one_out"]}
    values: dict[str, object] = {"evaluation": own}
    values |= {"finetune": {"tasks": ["ef"], "label_fraction": 0.5}, **tables}
    return plan_from_mapping(values, "test")


def shots_of(plan: Plan) -> tuple[list[FewShot], list[str]]:
    return plan_shots(manifest(), plan, plan_arms(manifest(), plan)[0])


def test_patients_are_nested_and_of_training_patients_with_a_label() -> None:
    found, notes = shots_of(plan_for([0, 2, 4, 6]))
    table = manifest()
    for site in "ABC":
        own = {few.shots: few.patients for few in found if few.site == site}
        assert list(own) == [0, 2, 4, 6]
        assert own[2] == own[4][:2] and own[4] == own[6][:4]
        labelled = table[
            (table["site"] == site) & (table["split"] == "train") & table["ef"].notna()
        ]
        assert set(own[6]) == set(patient_keys(labelled))
    assert notes == []
    again, _ = shots_of(plan_for([0, 2, 4, 6], seed=1))
    assert [few.patients for few in again] != [few.patients for few in found]


def test_more_patients_than_there_are_is_a_note() -> None:
    found, notes = shots_of(plan_for([0, 5, 10, 20]))
    assert [few.shots for few in found if few.site == "B"] == [0, 5]
    assert notes[1] == (
        "B has 6 training patients with a label, so no model is fine-tuned there on 10 or 20."
    )


def test_the_model_is_the_one_that_has_not_seen_the_site() -> None:
    """That without the site; or, at a site that no model sees, the federation's."""
    found, _ = shots_of(plan_for([0, 2], protocol={"unseen": ["C"]}))
    assert {(few.site, few.base.name) for few in found} == {
        ("A", "without:A"), ("B", "without:B"), ("C", "federated"),
    }  # fmt: skip
    assert all(few.site not in few.base.train for few in found)


def test_fine_tuning_is_the_plans_at_one_site_with_all_labels_and_no_choice_of_a_round() -> None:
    tables: dict[str, object] = {
        "federation": {"aggregation": "fedadam", "select": "best", "min_sites": 2},
        "finetune": {"tasks": ["ef"], "label_fraction": 0.5, "patience": 3, "rounds": 7},
    }
    few = shots_of(plan_for([2], **tables))[0][0]
    own = few.plan(plan_for([2], **tables))
    assert (own.pretrain.rounds, own.finetune.rounds) == (0, 7)
    assert (own.finetune.label_fraction, own.finetune.patience) == (1.0, 0)
    federation = own.federation
    assert (federation.aggregation, federation.select, federation.min_sites) == (
        "fedavg",
        "last",
        1,
    )


@pytest.mark.parametrize(("asked", "rate"), [(0.0, 3e-3), (2e-4, 2e-4)])
def test_its_rate_is_that_of_fine_tuning_or_its_own(asked: float, rate: float) -> None:
    plan = plan_for([2], finetune={"tasks": ["ef"], "learning_rate": 3e-3})
    own = plan.evaluation.model_copy(update={"few_shot_learning_rate": asked})
    few = shots_of(plan)[0][0]
    assert few.plan(plan.model_copy(update={"evaluation": own})).finetune.learning_rate == rate


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"evaluation": {"few_shot": [5], "baselines": []}}, "of sites that no model has seen"),
        ({"evaluation": {"few_shot": [5, 0]}}, "does not ascend"),
        ({"evaluation": {"few_shot": [5]}, "privacy": {"kind": "local", "noise_multiplier": 1}},
         "whom no noise"),
        ({"protocol": {"unlabelled_target": True}, "pretrain": {"rounds": 0}}, "rounds is 0"),
    ],
)  # fmt: skip
def test_plans_that_cannot_be_are_refused(tables: dict[str, object], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        plan_from_mapping(tables, "test")


def test_plans_without_few_shot_keep_their_hash() -> None:
    few_shot = {"few_shot", "few_shot_rounds", "few_shot_learning_rate"}
    assert not few_shot & set(Plan().evaluation.model_dump())


def test_a_sentence_a_row_and_a_curve_for_each_site() -> None:
    rows = [
        ("without:A", shots, "A", "ef", metric, value, value - 1, value + 1, 12)
        for metric, values in {"mae": (9.0, 7.5), "r2": (0.25, 0.5)}.items()
        for shots, value in zip((0, 5), values, strict=True)
    ]
    names = ["base", "shots", "site", "task", "metric", "value", "low", "high", "patients"]
    table = pd.DataFrame(rows, columns=names)
    assert few_shot_lines(table, 12) == [
        "A, fine-tuned there on some of its training patients: EF MAE (points), lower is better: "
        "9.0 with 0, 7.5 with 5."
    ]
    grid = few_shot_table(table, 12)
    assert grid is not None and grid.columns[2:] == ("test patients", "0 patients", "5 patients")
    assert grid.rows == (
        ("A", "EF MAE (points)", "12", "9.0 [8.0, 10.0]", "7.5 [6.5, 8.5]"),
        ("A", "EF R²", "12", "0.25 [-0.75, 1.25]", "0.50 [-0.50, 1.50]"),
    )
    (line,) = few_shot_lines(table, few=13)
    assert line.startswith("A (n 12, too few to judge), fine-tuned there on some of its")
    scarce = few_shot_table(table, few=13)
    assert scarce is not None and scarce.rows == (
        ("A", "EF MAE (points)", "12, too few to judge", "9.0", "7.5"),
        ("A", "EF R²", "12, too few to judge", "0.25", "0.50"),
    )
    assert few_shot_curves(table) is not None
    assert few_shot_table(pd.DataFrame(), 12) is None and few_shot_curves(pd.DataFrame()) is None
