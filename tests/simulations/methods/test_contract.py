"""What every method of a study keeps to, on four sites with different labels."""

from __future__ import annotations

import pandas as pd
import pytest

from echofm_core.contract import Phase
from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.study import WORDS
from echofm_core.runtime.errors import PlanError
from echofm_core.training.steps.optimizer import RoundSchedule
from simulations.arms import plan_arms
from simulations.methods import METHODS, SETS, methods_named
from simulations.methods._api import Method, Piece, Setting, changed
from simulations.methods.ensemble import mean_predictions
from tests.simulations.test_arms import manifest

TABLES = {
    # As Krum needs with three sites that train, and a user's own rule; no other reads them.
    "federation": {"min_sites": 2, "faulty_sites": 0, "rule": "mine.py"},
    "pretrain": {"rounds": 2, "local_steps": 5},
    "finetune": {"rounds": 3, "local_steps": 10},
    "evaluation": {"baselines": ["local", "pooled", "leave_one_out", "no_pretraining"]},
}

PRIVATE = {"kind": "local", "noise_multiplier": 1.0}


def setting(seed: int = 0, **tables: dict[str, object]) -> Setting:
    plan = plan_from_mapping({"seed": seed, **TABLES, **tables}, "test")
    return Setting(plan, {arm.name: arm for arm in plan_arms(manifest(), plan)[0]})


def keys(method: Method, here: Setting) -> list[str]:
    return [piece.key("data") for piece in method.pieces(here)]


def predictions(site: str, value: float) -> pd.DataFrame:
    row = {
        "dataset": site, "site": site, "patient_id": "p", "study_id": "s", "clip_id": "c",
        "view": "A4C", "task": "ef", "truth": 50.0, "prediction": value,
    }  # fmt: skip
    return pd.DataFrame([row])


def test_a_plan_may_name_what_there_is() -> None:
    assert set(WORDS) == {*METHODS, *SETS}
    assert {method for methods in SETS.values() for method in methods} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    def test_is_named_as_it_is_registered_and_explained_in_a_sentence(self, name: str) -> None:
        method = METHODS[name]
        assert method.name == name
        assert method.words[0].isupper() and method.words.endswith(".")
        assert "\n" not in method.words and "``" not in method.words

    def test_trains_one_phase_a_piece_and_begins_with_the_other(self, name: str) -> None:
        for piece in METHODS[name].pieces(setting()):
            assert (piece.plan.pretrain.rounds, piece.plan.finetune.rounds > 0) == (0, True)
            assert piece.arm.train and piece.arm.test
            if piece.start:
                start = piece.start
                assert (start.plan.pretrain.rounds, start.plan.finetune.rounds) == (2, 0)
                assert start.arm.test == () and start.start is None

    def test_takes_as_many_steps_at_each_site_as_any_other(self, name: str) -> None:
        """30 of fine-tuning; pooled data those of the three sites with labels together."""
        for piece in METHODS[name].pieces(setting()):
            table = piece.plan.finetune
            assert table.rounds * table.local_steps == (90 if name == "pooled" else 30)

    def test_names_its_arms_apart(self, name: str) -> None:
        names = [piece.arm.name for piece in METHODS[name].pieces(setting())]
        assert len(set(names)) == len(names)

    def test_has_the_same_keys_again_and_others_by_seed_and_by_data(self, name: str) -> None:
        method = METHODS[name]
        assert keys(method, setting()) == keys(method, setting())
        assert not set(keys(method, setting())) & set(keys(method, setting(seed=1)))
        (first, *_) = method.pieces(setting())
        assert first.key("data") != first.key("other data")

    def test_what_is_compared_and_how_sure_one_is_changes_no_training(self, name: str) -> None:
        sure = {**TABLES["evaluation"], "bootstrap": 500}
        assert keys(METHODS[name], setting()) == keys(METHODS[name], setting(evaluation=sure))

    def test_makes_a_row_of_its_own_name_of_its_predictions(self, name: str) -> None:
        pieces = METHODS[name].pieces(setting())
        found = {
            piece.arm.name: predictions(piece.arm.test[0], float(number))
            for number, piece in enumerate(pieces)
        }
        rows = METHODS[name].models(found)[name]
        assert len(rows) and set(rows["site"]) <= {"A", "B", "C", "all"}


def starts(name: str, here: Setting) -> set[str]:
    """Keys of the pre-training behind a method; empty without any."""
    return {piece.start.key("") for piece in METHODS[name].pieces(here) if piece.start}


def test_methods_of_one_federation_share_its_pre_training() -> None:
    """Each site alone and pooled data have their own: their encoder has seen no other site."""
    here = setting()
    shared = starts("fedavg", here)
    assert len(shared) == 1
    for name in ("fedprox", "scaffold", "median", "one_shot", "frozen"):
        assert starts(name, here) == shared
    assert len(starts("local", here)) == 3  # A, B and C have labels
    assert not shared & (starts("local", here) | starts("pooled", here))
    assert starts("no_pretraining", here) == set()


def test_the_pre_training_of_one_that_lends_its_clips_is_not_that_of_all() -> None:
    """The sites are the same, but the one left out has its clips without labels alone."""
    here = setting(protocol={"unlabelled_target": True})
    assert len(starts("leave_one_out", here)) == 2  # C has the only grades
    assert not starts("leave_one_out", here) & starts("fedavg", here)


def test_an_ensemble_trains_nothing_that_each_site_alone_does_not() -> None:
    here = setting()
    assert keys(METHODS["ensemble"], here) == keys(METHODS["local"], here)


def test_a_rule_with_the_plans_own_values_is_the_plan() -> None:
    here = setting(federation={"aggregation": "fedprox", "min_sites": 2})
    (piece,) = METHODS["fedprox"].pieces(here)
    plan = piece.plan.model_copy(update={"evaluation": here.plan.evaluation})
    assert plan == here.plan.model_copy(
        update={"pretrain": here.plan.pretrain.model_copy(update={"rounds": 0})}
    )


def test_one_site_is_trained_alike_whatever_the_rule_of_the_plan() -> None:
    """A mean of one model is that model."""
    scaffold = {**TABLES["federation"], "aggregation": "scaffold"}
    averaged, corrected = setting(), setting(federation=scaffold)
    for name in ("local", "pooled"):
        assert keys(METHODS[name], averaged) == keys(METHODS[name], corrected)


def test_one_shot_has_one_round_of_passes_where_passes_are_counted() -> None:
    here = setting(finetune={"rounds": 3, "local_epochs": 2})
    (piece,) = METHODS["one_shot"].pieces(here)
    table = piece.plan.finetune
    assert (table.rounds, table.local_steps, table.local_epochs) == (1, 0, 6)


@pytest.mark.parametrize(
    ("seconds", "skipped", "expected"),
    [(100.0, 2, (300.0, 6)), (2_592_000.0, 1_000_000, (2_592_000.0, 1_000_000))],
)
def test_the_round_of_one_shot_has_the_time_and_the_skipped_steps_of_all(
    seconds: float, skipped: int, expected: tuple[float, int]
) -> None:
    """Three rounds of 100 s and 2 steps each, or what a plan may have at most."""
    here = setting(
        finetune={"rounds": 3, "local_steps": 10, "max_skipped_steps": skipped},
        federation={**TABLES["federation"], "deadline_seconds": seconds},
    )
    (piece,) = METHODS["one_shot"].pieces(here)
    found = piece.plan.federation.deadline_seconds, piece.plan.finetune.max_skipped_steps
    assert found == expected


def test_the_rate_of_one_shot_is_at_each_step_that_of_the_rounds() -> None:
    """A warm-up of one round of three is a third of the steps, not all of them."""
    here = setting(finetune={"rounds": 3, "local_steps": 10, "warmup_rounds": 1.0})
    each = {}
    for name in ("fedavg", "one_shot"):
        (piece,) = METHODS[name].pieces(here)
        table = piece.plan.finetune
        rate = RoundSchedule(
            peak=table.learning_rate, warmup_rounds=table.warmup_rounds, rounds=table.rounds
        )
        steps = table.local_steps
        each[name] = [
            rate.of_step(number, step, steps)
            for number in range(1, table.rounds + 1)
            for step in range(steps)
        ]
    assert each["one_shot"] == pytest.approx(each["fedavg"])


def test_the_frozen_encoder_stays_as_it_was_pre_trained() -> None:
    for piece in METHODS["frozen"].pieces(setting()):
        assert piece.plan.finetune.mode == "stf_probe"
        assert piece.arm.train == piece.arm.test
        assert not piece.exchanges


def test_a_method_that_the_plan_forbids_says_so() -> None:
    private = setting(privacy=PRIVATE)
    with pytest.raises(PlanError, match=r"scaffold, but privacy\.kind is local"):
        METHODS["scaffold"].pieces(private)
    with pytest.raises(PlanError, match="no pre-training"):
        METHODS["no_pretraining"].pieces(setting(pretrain={"rounds": 0}))


def test_krum_is_not_compared_among_too_few_sites() -> None:
    """Three train; with one faulty site it takes five, and with fewer it would be the median."""
    with pytest.raises(PlanError, match="needs 5 sites that train, here are 3"):
        METHODS["krum"].pieces(setting(federation={"min_sites": 2}))


def test_one_privacy_budget_pays_for_both_phases() -> None:
    private = setting(privacy=PRIVATE)
    (piece,) = METHODS["fedavg"].pieces(private)
    assert piece.start is None
    assert (piece.plan.pretrain.rounds, piece.plan.finetune.rounds) == (2, 3)
    with pytest.raises(PlanError, match="frozen:A begins with what 4 sites have pre-trained"):
        METHODS["frozen"].pieces(private)


def test_sets_and_names_are_each_method_once() -> None:
    names = [method.name for method in methods_named(["median", "reviewer", "fedavg"])]
    assert names == ["median", *SETS["reviewer"]]


def test_the_mean_of_predictions_by_hand() -> None:
    """(40 + 60) / 2 = 50; of classes (0.9 + 0.2) / 2 = 0.55 against 0.45, though one said 1."""
    regression = mean_predictions([predictions("A", 40.0), predictions("A", 60.0)])
    assert regression["prediction"].tolist() == [50.0]
    first, second = (
        predictions("A", label).assign(task="as_grade", truth=0.0, p0=p0, p1=1 - p0)
        for label, p0 in ((0.0, 0.9), (1.0, 0.2))
    )
    classes = mean_predictions([first, second])
    assert classes["prediction"].tolist() == [0.0]
    assert classes["p0"].tolist() == [pytest.approx(0.55)]
    assert len(mean_predictions([predictions("A", 40.0), predictions("B", 60.0)])) == 2


def test_a_changed_plan_is_checked_as_a_whole() -> None:
    with pytest.raises(PlanError, match=r"changed in finetune.*tasks is empty"):
        changed(Plan(), finetune={"tasks": []})


def test_every_rule_of_the_server_is_a_method() -> None:
    pieces: list[Piece] = [
        piece for rule in Aggregation for piece in METHODS[rule.value].pieces(setting())
    ]
    assert [piece.plan.federation.aggregation for piece in pieces] == list(Aggregation)
    assert all(piece.plan.rounds_of(Phase.FINETUNE) == 3 for piece in pieces)
