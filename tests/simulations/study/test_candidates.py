"""Which settings a study tries of its methods; nothing is trained."""

from __future__ import annotations

import pytest

from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.study import MOST_TUNED
from echofm_core.runtime.errors import PlanError
from simulations.methods import METHODS
from simulations.methods._api import Setting
from simulations.study.candidates import (
    LEARNING_RATE,
    Candidate,
    candidates,
    check_tuning,
    keys_tried,
    learning_rates,
)
from simulations.study.options import with_study
from tests.simulations.methods.test_contract import setting

#: The key of its own that a method is tuned by, under a plan whose rule is FedAvg.
OWN = {
    "fedprox": "federation.proximal_mu",
    **dict.fromkeys(("fedadam", "fedyogi", "fedadagrad"), "federation.server_learning_rate"),
    "fedavgm": "federation.server_momentum",
    "qfedavg": "federation.fairness_q",
    "fedrep": "personal.alternate_steps",
    "ditto": "personal.ditto",
    "last_step": "personal.last_learning_rate",
}


def keys(found: list[Candidate]) -> list[tuple[str, ...]]:
    return [tuple(piece.key("data") for piece in one.pieces) for one in found]


def value(candidate: Candidate, key: str) -> set[float]:
    """What the trainings of a setting really have."""
    table, _, name = key.partition(".")
    return {getattr(getattr(piece.plan, table), name) for piece in candidate.pieces}


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    @pytest.mark.parametrize("count", [1, 4, MOST_TUNED])
    def test_has_as_many_settings_as_any_other_and_no_two_alike(
        self, name: str, count: int
    ) -> None:
        found = keys(candidates(METHODS[name], setting(), count))
        assert len(found) == len(set(found)) == count

    def test_begins_with_the_plans_own_values(self, name: str) -> None:
        """The very trainings of a study that tunes nothing."""
        first = candidates(METHODS[name], setting(), 3)[0]
        untuned = METHODS[name].pieces(setting())
        assert not first.values
        assert keys([first]) == [tuple(piece.key("data") for piece in untuned)]

    def test_tries_its_own_key_first_and_trains_by_it(self, name: str) -> None:
        """With one that it sets itself too, as Ditto its strength."""
        own = OWN.get(name, LEARNING_RATE)
        for candidate in candidates(METHODS[name], setting(), 3)[1:]:
            assert list(candidate.values) == [own]
            assert value(candidate, own) == set(candidate.values.values())

    def test_pre_trains_alike_in_every_setting(self, name: str) -> None:
        """Of a plan whose own rule has the key that is tuned, too."""
        rule = {"aggregation": "fedadam", "min_sites": 2, "faulty_sites": 0, "rule": "mine.py"}
        for here in (setting(), setting(federation=rule)):
            try:
                found = candidates(METHODS[name], here, 4)
            except PlanError:  # exact averaging of adapters is no FedAdam
                assert name == "fedex_lora"
                continue
            starts = {
                tuple(piece.start.key("") if piece.start else "" for piece in one.pieces)
                for one in found
            }
            assert len(starts) == 1


def test_a_value_that_the_plan_has_already_does_not_count_twice() -> None:
    """Of 0.1, 0.001, 1, 0.01 and 0.5 the plan has the first."""
    here = setting(federation={"min_sites": 2, "proximal_mu": 0.1})
    found = candidates(METHODS["fedprox"], here, 4)
    assert [value(one, "federation.proximal_mu") for one in found] == [{0.1}, {0.001}, {1}, {0.01}]


def test_what_runs_short_goes_on_with_learning_rates() -> None:
    """FedRep has a quarter, three quarters and half of ten steps; half is the plan's."""
    found = candidates(METHODS["fedrep"], setting(), 5)
    assert keys_tried(found) == ["personal.alternate_steps", LEARNING_RATE]
    assert [value(one, "personal.alternate_steps") for one in found] == [{5}, {2}, {8}, {5}, {5}]


def test_a_value_that_goes_with_no_plan_is_left_out() -> None:
    """Three times 5 is above 10, which a rate may be at most; the next one is tried instead."""
    found = candidates(METHODS["fedavg"], setting(finetune={"learning_rate": 5.0}), 4)
    assert [value(one, LEARNING_RATE) for one in found] == [{5.0}, {1.7}, {0.56}, {0.19}]


def test_methods_by_the_plans_own_rule_are_tuned_by_its_key() -> None:
    """A bad rate of FedAdam would be as bad without a site, or with heads that stay."""
    rule = {"aggregation": "fedadam", "min_sites": 2}
    for name in ("fedadam", "leave_one_out", "no_pretraining", "fedper"):
        found = candidates(METHODS[name], setting(federation=rule), 2)
        assert list(found[1].values) == ["federation.server_learning_rate"], name
    for name in ("local", "pooled", "one_shot", "fedavg"):
        found = candidates(METHODS[name], setting(federation=rule), 2)
        assert list(found[1].values) == [LEARNING_RATE], name


def test_what_a_federation_of_one_site_does_not_read_is_no_setting_of_it() -> None:
    """Leaving one of two sites out leaves one, whose mean is its own model by any rule."""
    here = setting(federation={"aggregation": "fedadam", "min_sites": 1})
    arms = {
        name: arm
        for name, arm in here.arms.items()
        if name in ("federated", "local:A", "without:A")
    }
    alone = arms["local:A"]
    arms["without:A"] = type(alone)(
        name="without:A", model="leave_one_out", train=("B",), test=("A",),
        tasks=alone.tasks, trainers=1,
    )  # fmt: skip
    found = candidates(METHODS["leave_one_out"], Setting(here.plan, arms), 2)
    assert list(found[1].values) == [LEARNING_RATE]


def test_learning_rates_go_down_and_up_by_threes() -> None:
    rates = [values[LEARNING_RATE] for values in learning_rates(1e-3)]
    assert rates[:4] == [0.00033, 0.003, 0.00011, 0.009]


def tuned(**tables: object) -> Plan:
    return plan_from_mapping({"study": {"tune": 3}, **tables}, "test")


def test_private_training_is_not_tuned() -> None:
    """In a variation neither."""
    private = {"kind": "local", "epsilon": 8.0}
    with pytest.raises(
        PlanError, match=r"tune is 3, but privacy\.kind is local.*a study does not add up"
    ):
        check_tuning(tuned(privacy=private))
    vary = {"tune": 3, "vary": {"privacy": [{}, private]}}
    with pytest.raises(PlanError, match="does not add up"):
        check_tuning(tuned(study=vary))
    check_tuning(tuned())
    check_tuning(tuned(study={"tune": 0}, privacy=private))


def test_pre_training_alone_is_not_tuned() -> None:
    with pytest.raises(PlanError, match="what is tuned is fine-tuning"):
        check_tuning(tuned(finetune={"rounds": 0}))


def test_patients_of_a_test_never_choose() -> None:
    """With `resplit` whoever validates in one seed is tested in another."""
    with pytest.raises(PlanError, match="are test patients of another: set one of them otherwise"):
        tuned(study={"tune": 2, "resplit": True})
    with pytest.raises(PlanError, match="test patients of another"):
        with_study(tuned(study={"resplit": True}), None, None, None, 2)


def test_tuning_is_no_part_of_what_a_plan_is() -> None:
    """An option makes a study of a plan; its hash stays."""
    found = with_study(Plan(), None, None, None, 3)
    assert found.study.tune == 3 and found.study.asked
    assert found.digest() == Plan().digest()
    with pytest.raises(PlanError, match=r"study\.tune"):
        with_study(Plan(), None, None, None, MOST_TUNED + 1)


@pytest.mark.parametrize(
    ("vary", "key"),
    [
        ({"finetune.learning_rate": [1e-3, 1e-4]}, "finetune.learning_rate"),
        ({"federation.proximal_mu": [0.1, 1.0]}, "federation.proximal_mu"),
        ({"finetune": [{"learning_rate": 1e-3}, {}]}, "finetune.learning_rate"),
    ],
)
def test_what_is_varied_is_not_tuned(vary: dict[str, object], key: str) -> None:
    """A row would be named by a value that it may not have; a key that no method tries may vary."""
    study = {"tune": 2, "methods": ["fedprox"]}
    with pytest.raises(PlanError, match=f"study.vary has {key}"):
        check_tuning(tuned(study={**study, "vary": vary}))
    check_tuning(tuned(study={**study, "vary": {"finetune.label_fraction": [0.5, 1.0]}}))
    check_tuning(tuned(study={**study, "vary": {"federation.server_momentum": [0.5, 0.9]}}))
