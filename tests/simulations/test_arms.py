"""Which models an experiment trains, derived by hand from who has which labels."""

from pathlib import Path

import pytest

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.splits import label_counts
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.tasks import Task
from simulations.arm_training import log_name
from simulations.arms import plan_arms


def manifest():
    """A and B have EF in training and test; C has AS grades; D has nothing."""
    rows = []
    for site, label in (
        ("A", {"ef": 50.0}),
        ("B", {"ef": 60.0}),
        ("C", {"as_grade": 2}),
        ("D", {}),
    ):
        for split in ("train", "test"):
            name = f"{site}{split}"
            rows.append(
                {
                    "dataset": site, "site": site, "patient_id": name, "clip_id": name,
                    "path": "/x", "split": split, "view": "A4C", **label,
                }
            )  # fmt: skip
    return manifest_from_rows(rows)


def test_arms_of_four_sites_with_different_labels() -> None:
    arms, notes = plan_arms(manifest(), Plan())
    assert [arm.name for arm in arms] == [
        "federated", "pooled", "local:A", "without:A", "local:B", "without:B", "local:C",
    ]  # fmt: skip
    by_name = {arm.name: arm for arm in arms}
    assert by_name["federated"].train == ("A", "B", "C", "D")
    assert by_name["federated"].test == ("A", "B", "C")
    assert by_name["without:A"].train == ("B", "C", "D")
    assert by_name["without:A"].test == ("A",)
    assert by_name["local:C"].tasks == (Task.AS_GRADE,)
    assert by_name["pooled"].train == ("all",)
    assert notes == [
        "Leaving C out is n/a: no other site has labels for its tasks.",
        "D has no training labels, so there is no model of it alone.",
    ]


def test_only_the_baselines_that_were_asked_for() -> None:
    plan = plan_from_mapping({"evaluation": {"baselines": []}}, "test")
    assert [arm.name for arm in plan_arms(manifest(), plan)[0]] == ["federated"]


def test_a_view_filter_takes_labels_away() -> None:
    plan = plan_from_mapping({"protocol": {"views": ["A2C"]}}, "test")
    arms, _ = plan_arms(manifest(), plan)
    assert arms[0].test == () and arms[0].tasks == ()


def test_pre_training_alone_has_one_arm_and_nothing_to_test() -> None:
    plan = plan_from_mapping({"finetune": {"rounds": 0}}, "test")
    (arm,), notes = plan_arms(manifest(), plan)
    assert (arm.name, arm.train, arm.test) == ("federated", ("A", "B", "C", "D"), ())
    assert "encoder" in notes[0]


def test_min_sites_never_exceeds_the_sites_of_the_arm_that_can_train() -> None:
    """Without A there are B, C and D, of which D has no labels: no round of three could count."""
    plan = plan_from_mapping({"federation": {"min_sites": 3}}, "test")
    arms, _ = plan_arms(manifest(), plan)
    assert [arm.plan(plan).federation.min_sites for arm in arms] == [3, 1, 1, 2, 1, 2, 1]


@pytest.mark.parametrize("rule", ["qfedavg", "fedadam", "fedavgm", "fedprox", "scaffold"])
def test_one_model_goes_by_no_rule(rule: str) -> None:
    """As a site trains alone; a server's rate would hold it back, and flatter the federation."""
    plan = plan_from_mapping({"federation": {"aggregation": rule}}, "test")
    arms = {arm.name: arm for arm in plan_arms(manifest(), plan)[0]}
    for name, found in (
        ("federated", rule), ("without:A", rule), ("pooled", "fedavg"), ("local:A", "fedavg"),
    ):  # fmt: skip
        assert arms[name].plan(plan).federation.aggregation == found, name


def test_krum_without_a_site_is_said_to_be_the_median() -> None:
    """Without any faulty site it takes three: A, B and C have labels, and without one of them two.

    A site alone and pooled data have one model, and no rule.
    """
    federation = {"aggregation": "krum", "faulty_sites": 0, "min_sites": 3}
    plan = plan_from_mapping({"federation": federation}, "test")
    before, after = (plan_arms(manifest(), each)[1] for each in (Plan(), plan))
    assert after[:-1] == before
    assert after[-1].startswith("leave_one_out: Krum with faulty_sites = 0 needs 3 sites")


def test_pooled_data_take_the_steps_of_all_their_sites() -> None:
    """Four sites have clips to pre-train on, and three of them labels; others take the plan's."""
    tables = {"pretrain": {"local_steps": 5}, "finetune": {"local_steps": 10}}
    plan = plan_from_mapping(tables, "test")
    arms, _ = plan_arms(manifest(), plan)
    plans = {arm.name: arm.plan(plan) for arm in arms}
    steps = {
        name: (found.pretrain.local_steps, found.finetune.local_steps)
        for name, found in plans.items()
    }
    assert steps.pop("pooled") == (20, 30)
    assert set(steps.values()) == {(5, 10)}


def test_an_unseen_site_trains_no_model_and_tests_every_one_but_leave_one_out() -> None:
    """B is never seen: leaving A out leaves nobody with an EF, and pooled data hold A, C and D."""
    baselines = ["local", "pooled", "leave_one_out", "no_pretraining"]
    tables = {
        "protocol": {"unseen": ["B"]},
        "pretrain": {"local_steps": 5},
        "evaluation": {"baselines": baselines},
    }
    plan = plan_from_mapping(tables, "test")
    arms, notes = plan_arms(manifest(), plan)
    assert {arm.name: (arm.train, arm.test) for arm in arms} == {
        "federated": (("A", "C", "D"), ("A", "B", "C")),
        "no_pretraining": (("A", "C", "D"), ("A", "B", "C")),
        "pooled": (("all",), ("all", "B")),
        "local:A": (("A",), ("A", "B", "C")),
        "local:C": (("C",), ("A", "B", "C")),
    }
    assert "Leaving A out is n/a: no other site has labels for its tasks." in notes
    assert not any(" B " in note or note.startswith("B ") for note in notes)
    pooled = next(arm for arm in arms if arm.name == "pooled")
    assert pooled.plan(plan).pretrain.local_steps == 15


def test_the_federation_without_pre_training_differs_in_its_rounds_alone() -> None:
    tables = {"evaluation": {"baselines": ["no_pretraining"]}}
    plan = plan_from_mapping(tables, "test")
    federated, other = plan_arms(manifest(), plan)[0]
    assert other.model == "no_pretraining" and other.plan(plan).pretrain.rounds == 0
    kept = plan.pretrain.rounds
    again = other.plan(plan).model_copy(
        update={"pretrain": other.plan(plan).pretrain.model_copy(update={"rounds": kept})}
    )
    assert again == federated.plan(plan)


def test_without_pre_training_there_is_no_other_model_without_it() -> None:
    tables = {"pretrain": {"rounds": 0}, "evaluation": {"baselines": ["no_pretraining"]}}
    arms, notes = plan_arms(manifest(), plan_from_mapping(tables, "test"))
    assert [arm.name for arm in arms] == ["federated"]
    assert notes == ["The plan has no pre-training, so there is no other model without it."]


def test_folders_keep_the_federated_run_at_the_top() -> None:
    arms, _ = plan_arms(manifest(), Plan())
    assert arms[0].folder(Path("r")) == Path("r")
    assert arms[2].folder(Path("r")) == Path("r/baselines/local-A")


def test_census_counts_labels_by_site_and_split() -> None:
    table = label_counts(manifest(), Plan().finetune.tasks).set_index(["site", "split"])
    assert table.loc[("A", "train"), ["clips", "patients", "ef", "as_grade"]].tolist() == [
        1,
        1,
        1,
        0,
    ]
    assert table.loc[("C", "test"), "as_grade"] == 1


def test_clips_without_labels_join_pre_training_where_the_plan_lets_them_in() -> None:
    """Each federation without a site, and all models of several sites for one that is unseen."""
    tables: dict[str, dict[str, object]] = {
        "protocol": {"unlabelled_target": True, "unseen": ["D"]},
        "pretrain": {"local_steps": 5},
        "evaluation": {"baselines": ["local", "pooled", "leave_one_out", "no_pretraining"]},
    }
    plan = plan_from_mapping(tables, "test")
    arms = {arm.name: arm for arm in plan_arms(manifest(), plan)[0]}
    lent = {site: f"_unlabelled-{site}" for site in "ABCD"}
    assert arms["federated"].train == ("A", "B", "C", "D")
    assert arms["federated"].given == {"D": lent["D"]} and arms["federated"].trainers == 3
    assert arms["without:A"].train == ("A", "B", "C", "D") and arms["without:A"].test == ("A",)
    assert arms["without:A"].given == {site: lent[site] for site in "AD"}
    assert arms["without:A"].trainers == 2
    assert arms["no_pretraining"].train == ("A", "B", "C") and not arms["no_pretraining"].given
    assert arms["local:A"].train == ("A",) and not arms["local:A"].given
    assert arms["pooled"].plan(plan).pretrain.local_steps == 20
    closed = plan.model_copy(
        update={"protocol": plan.protocol.model_copy(update={"unlabelled_target": False})}
    )
    assert not any(arm.given for arm in plan_arms(manifest(), closed)[0])


def test_a_log_is_named_from_the_folder_that_the_user_gave(tmp_path: Path) -> None:
    """A run's own; of a study its folder, below which trainings and variations lie side by side."""
    run = tmp_path / "run"
    named = log_name(run / "baselines" / "local-A" / "sites" / "A", run)
    assert named == "baselines/local-A/sites/A/site.log of the run folder"
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.json").touch()
    state = tmp_path / "study" / "seed-0" / "arms" / "local-1" / "sites" / "A"
    named = log_name(state, tmp_path / "study" / "rate-0.1" / "seed-0")
    assert named == "seed-0/arms/local-1/sites/A/site.log of the run folder"
