"""Which trainings a study has, and what names them; nothing is trained."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import PlanError, ResumeError
from simulations.study.cell_outcome import plan_notes
from simulations.study.cells import Cell, cell_of, data_hash, study_of
from simulations.study.folder import claim_study, look_study, place_of, trains
from simulations.study.options import with_study
from simulations.study.run import less_notes
from tests.simulations.test_arms import manifest


def cell(methods: list[str], **tables: object) -> Cell:
    plan = plan_from_mapping({"pretrain": {"rounds": 2}, **tables}, "test")
    prepared = Prepared(manifest=manifest(), findings=Findings(), stores=Path("stores"))
    return cell_of(plan, Path("seed-0"), prepared, methods)


def test_without_names_it_is_the_plans_rule_and_its_baselines() -> None:
    plan = plan_from_mapping(
        {"study": {"seeds": 2}, "federation": {"aggregation": "median"}}, "test"
    )
    study = study_of(plan)
    assert study.methods == ("median", "local", "pooled", "leave_one_out")
    assert (study.seeds, [item.value for item in study.protocols]) == (2, ["institution"])


def test_options_stand_in_place_of_the_plans_keys() -> None:
    plan = plan_from_mapping({"study": {"seeds": 2, "methods": ["local"]}}, "test")
    found = with_study(plan, 3, "fedavg, pooled", None).study
    assert (found.seeds, found.methods) == (3, ("fedavg", "pooled"))
    assert with_study(plan, None, None, None) is plan
    with pytest.raises(PlanError, match="there is no method 'fedavgg', did you mean 'fedavg'"):
        with_study(plan, None, "fedavgg", None)
    with pytest.raises(PlanError, match="'qualty' is none of"):
        with_study(plan, None, None, "qualty")


def test_a_study_does_not_change_what_a_run_is() -> None:
    plan = plan_from_mapping({"study": {"seeds": 2, "methods": ["local"]}}, "test")
    assert plan.digest() == Plan().digest() and "study" not in plan.decisive()
    assert "[study]" in plan.to_toml() and "[study]" not in plan.to_shared_toml()


def test_each_training_is_there_once_and_behind_the_one_that_it_begins_with() -> None:
    """A, B and C have labels: three encoders of sites alone, one of all, three trainings on it."""
    here = cell(["local", "ensemble", "fedavg", "frozen"])
    names = [piece.arm.name for piece in here.pieces().values()]
    assert sorted(names) == sorted(
        [
            *(f"local:{site}" for site in "ABC"),
            *(f"pretraining:local:{site}" for site in "ABC"),
            "pretraining:federated",
            "fedavg",
            *(f"frozen:{site}" for site in "ABC"),
        ]
    )
    order = list(here.pieces())
    for key, piece in here.pieces().items():
        if piece.start:
            assert order.index(piece.start.key(here.data)) < order.index(key)


def test_what_a_method_cannot_have_is_left_out_with_a_sentence() -> None:
    here = cell(["scaffold", "fedavg"], privacy={"kind": "local", "noise_multiplier": 1.0})
    assert [method.name for method, _ in here.methods] == ["fedavg"]
    assert here.notes[0].startswith("The method scaffold is left out: ")
    with pytest.raises(PlanError, match="no method of the study can be had"):
        cell(["scaffold"], privacy={"kind": "local", "noise_multiplier": 1.0})


def test_others_are_compared_with_the_plans_own_rule() -> None:
    assert cell(["fedprox", "fedavg"]).reference == "fedavg"
    assert cell(["fedprox", "median"]).reference == "fedprox"
    assert cell(["local", "pooled"]).reference == ""


def test_notes_name_the_share_of_labels_and_whose_models_are_a_sites_own() -> None:
    """As in a run of the plan alone; each with the methods that it is of."""
    tuning = {"rounds": 3, "local_steps": 10, "label_fraction": 0.5}
    here = cell(["fedavg", "fedper", "fedrep", "local"], finetune=tuning)
    share, *own = plan_notes(here)
    assert share.startswith("finetune.label_fraction is 0.5: ")
    (note,) = own
    assert note.startswith("fedper and fedrep: A site is tested with parameters of its own")
    assert "their scores there are not those of a trained model" in note
    assert plan_notes(cell(["fedavg", "local"])) == []


def test_models_that_go_by_the_median_in_place_of_krum_are_named() -> None:
    """A, B and C have labels: enough where none is faulty, but not without one of them."""
    krum = {"aggregation": "krum", "faulty_sites": 0, "min_sites": 3}
    (note,) = plan_notes(cell(["krum", "fedavg", "local", "leave_one_out"], federation=krum))
    assert note.startswith("leave_one_out: Krum with faulty_sites = 0 needs 3 sites that train")
    without = cell(["krum", "fedavg"], federation=krum)
    assert not any("Krum" in note for note in (*plan_notes(without), *without.notes))


def test_adapters_on_a_drawn_encoder_are_warned_of() -> None:
    (note, _) = plan_notes(cell(["fedavg", "fedit", "dual_lora"], pretrain={"rounds": 0}))
    assert note.startswith("fedit and dual_lora: ") and "adapters on it learn little" in note


def test_the_hash_of_the_data_is_of_people_sites_splits_and_labels() -> None:
    rows = manifest()
    assert data_hash(rows.sample(frac=1, random_state=1)) == data_hash(rows)
    assert data_hash(rows.assign(path="/elsewhere")) == data_hash(rows)
    for column, value in (("site", "E"), ("split", "val"), ("ef", 1.0)):
        changed = rows.copy()
        changed.loc[0, column] = value
        assert data_hash(changed) != data_hash(rows), column


def test_classes_of_stenosis_count_where_they_say_more_than_the_grades() -> None:
    """What was trained before there was the column is found."""
    rows = manifest()
    rows["as_grade"] = pd.array([4] * len(rows), "Int32")
    graded = rows.assign(as_class=pd.array([2] * len(rows), "Int32"))
    rows["as_class"] = pd.array([pd.NA] * len(rows), "Int32")
    assert data_hash(graded) == data_hash(rows)
    graded.loc[0, "as_grade"] = pd.NA
    rows.loc[0, "as_grade"] = pd.NA
    assert data_hash(graded) != data_hash(rows)


def test_a_training_is_found_by_its_key_whatever_it_was_called(tmp_path: Path) -> None:
    key = "0123456789abcdef"
    place = place_of(tmp_path, "local:A", key)
    assert place == tmp_path / "arms/local-A-01234567"
    place.mkdir(parents=True)
    assert place_of(tmp_path, "another", key) == place


def test_a_folder_is_that_of_one_plans_trainings(tmp_path: Path) -> None:
    """Ways to compare may change; what is trained may not."""
    plan, other = Plan(), plan_from_mapping({"seed": 1}, "test")
    sure = plan_from_mapping({"evaluation": {"bootstrap": 500}}, "test")
    assert trains(plan) == trains(sure) != trains(other)
    folder = tmp_path / "study"
    look_study(folder, plan, resume=False)
    folder.mkdir()
    claim_study(folder, plan, {})
    look_study(folder, sure, resume=False)  # of no training a round is done
    with pytest.raises(ResumeError, match="a study of another plan"):
        look_study(folder, other, resume=True)
    (folder / "seed-0/arms/x-1/journal").mkdir(parents=True)
    (folder / "seed-0/arms/x-1/journal/pretrain-0001.json").touch()
    look_study(folder, sure, resume=True)
    with pytest.raises(ResumeError, match="continue it with --resume"):
        look_study(folder, plan, resume=False)


def test_the_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").touch()
    with pytest.raises(ResumeError, match="holds a run, and no study"):
        look_study(tmp_path, Plan(), resume=True)


def test_a_study_that_is_gone_on_with_says_what_its_tables_lose() -> None:
    """Seed 1 goes, two methods go and one comes; a new study has lost nothing."""
    plan = plan_from_mapping({"study": {"methods": ["fedavg", "fedprox"]}}, "test")
    before = {
        "seeds": [0, 1],
        "methods": ["fedavg", "local", "pooled"],
        "protocols": ["institution"],
    }
    what, end = "of before that the tables have no more:", "; what was trained for them is kept."
    assert less_notes(before, plan) == [
        f"seeds {what} 1{end}",
        f"methods {what} local and pooled{end}",
    ]
    assert less_notes({}, plan) == []
