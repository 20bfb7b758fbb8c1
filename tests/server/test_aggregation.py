"""Every expected number is derived by hand in its test."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from echofm_core.contract import Phase, Weights
from echofm_core.plan.federation import Aggregation, FederationConfig, TrunkWeights
from echofm_core.tasks import TASKS, Task, TaskFamily
from server.aggregation import ALGORITHMS, build_algorithm
from server.aggregation._api import PIECE, Algorithm, sum_of_squares

#: Rules whose server takes a step of its own.
ADAPTIVE = (Aggregation.FEDADAM, Aggregation.FEDYOGI, Aggregation.FEDADAGRAD)
GLOBAL = {
    "encoder.w": np.array([1.0, 2.0], np.float32),
    "heads.ef.w": np.array([10.0], np.float32),
    "heads.view.w": np.array([5.0], np.float32),
}


def fold(algorithm: Algorithm, *updates: tuple[Weights, dict[str, int]]) -> Weights:
    running = algorithm.start(GLOBAL, GLOBAL)
    for weights, counts in updates:
        running.add(weights, counts)
    return running.finish()


def site(encoder: list[float], ef: float | None = None) -> dict[str, np.ndarray]:
    weights = {"encoder.w": np.array(encoder, np.float32)}
    return weights if ef is None else weights | {"heads.ef.w": np.array([ef], np.float32)}


@pytest.mark.parametrize("weights", list(TrunkWeights))
@pytest.mark.parametrize("name", ALGORITHMS)
class TestEveryRule:
    """The contract of all rules, however the trunk is weighted."""

    def test_sites_that_change_nothing_change_nothing(
        self, name: Aggregation, weights: TrunkWeights
    ) -> None:
        rule = build_algorithm(FederationConfig(aggregation=name, trunk_weights=weights))
        result = fold(rule, (GLOBAL, dict.fromkeys(("encoder", "heads.ef", "heads.view"), 3)))
        for key, array in GLOBAL.items():
            np.testing.assert_array_equal(result[key], array)

    def test_one_site_alone_becomes_the_model(
        self, name: Aggregation, weights: TrunkWeights
    ) -> None:
        if name in ADAPTIVE:
            pytest.skip("the server takes a step of its own")
        rule = build_algorithm(FederationConfig(aggregation=name, trunk_weights=weights))
        result = fold(rule, (site([4.0, -2.0], 11.0), {"encoder": 7, "heads.ef": 2}))
        np.testing.assert_array_equal(result["encoder.w"], [4.0, -2.0])
        np.testing.assert_array_equal(result["heads.ef.w"], [11.0])

    def test_what_it_remembers_is_all_that_the_next_round_needs(
        self, name: Aggregation, weights: TrunkWeights
    ) -> None:
        """Two rounds of one object, and the second round of another that was given the state."""
        config = FederationConfig(aggregation=name, trunk_weights=weights)
        first, second = build_algorithm(config), build_algorithm(config)
        fold(first, (site([4.0, -2.0], 11.0), {"encoder": 7, "heads.ef": 2}))
        second.restore((part, dict(arrays)) for part, arrays in first.state())
        update = (site([-3.0, 5.0]), {"encoder": 7})
        results = [fold(rule, update) for rule in (first, second)]
        np.testing.assert_array_equal(results[0]["encoder.w"], results[1]["encoder.w"])
        assert dict(first.state()).keys() == dict(second.state()).keys()

    def test_groups_that_nobody_trained_stay(
        self, name: Aggregation, weights: TrunkWeights
    ) -> None:
        rule = build_algorithm(FederationConfig(aggregation=name, trunk_weights=weights))
        result = fold(rule, (site([4.0, -2.0]), {"encoder": 7}))
        np.testing.assert_array_equal(result["heads.view.w"], [5.0])
        assert set(result) == set(GLOBAL)


def test_every_plan_name_has_a_rule() -> None:
    """All but that of a user's own file."""
    assert set(ALGORITHMS) == set(Aggregation) - {Aggregation.CUSTOM}


def test_fedavg_weights_by_clips() -> None:
    """Site a: 1 clip, moves (+1, +2); b: 3 clips, moves (+5, -2).

    Mean move: (1*1 + 3*5)/4 = 4, (1*2 - 3*2)/4 = -1; so (1, 2) becomes (5, 1).
    """
    rule = build_algorithm(FederationConfig(trunk_weights=TrunkWeights.CLIPS))
    result = fold(rule, (site([2, 4]), {"encoder": 1}), (site([6, 0]), {"encoder": 3}))
    np.testing.assert_array_equal(result["encoder.w"], [5.0, 1.0])


def test_exponent_zero_weights_all_alike() -> None:
    """As above with weights 1 and 1: moves (1+5)/2 = 3 and (2-2)/2 = 0; (4, 2)."""
    rule = build_algorithm(FederationConfig(weight_exponent=0.0))
    result = fold(rule, (site([2, 4]), {"encoder": 1}), (site([6, 0]), {"encoder": 3}))
    np.testing.assert_array_equal(result["encoder.w"], [4.0, 2.0])


def test_exponent_one_half_weights_by_square_roots() -> None:
    """Counts 1 and 9 weigh 1 and 3: moves (1*1 + 3*5)/4 = 4 and (1*2 - 3*2)/4 = -1."""
    rule = build_algorithm(FederationConfig(weight_exponent=0.5))
    result = fold(rule, (site([2, 4]), {"encoder": 1}), (site([6, 0]), {"encoder": 9}))
    np.testing.assert_array_equal(result["encoder.w"], [5.0, 1.0])


def test_a_head_is_averaged_over_the_sites_with_its_labels_by_their_labels() -> None:
    """Encoder: counts 1 and 3. Head ef: a has 2 labels and moves +4, b 6 labels and moves -4,
    c has none: (2*4 - 6*4)/8 = -2, so 10 becomes 8. c still moves the encoder: a and b bring
    it by 0, c with 4 of 8 clips by +2: +1.
    """
    rule = build_algorithm(FederationConfig(trunk_weights=TrunkWeights.CLIPS))
    result = fold(
        rule,
        (site([1, 2], 14.0), {"encoder": 1, "heads.ef": 2}),
        (site([1, 2], 6.0), {"encoder": 3, "heads.ef": 6}),
        (site([3, 4]), {"encoder": 4}),
    )
    np.testing.assert_array_equal(result["heads.ef.w"], [8.0])
    np.testing.assert_array_equal(result["encoder.w"], [2.0, 3.0])


def test_equal_weights_hold_for_the_trunk_and_not_for_heads() -> None:
    """a: 1 clip, trunk moves (+1, +2), head +4; b: 3 clips, (+5, -2), head -4.

    Trunk: (1+5)/2 = 3 and (2-2)/2 = 0, so (4, 2). Head: (1*4 - 3*4)/4 = -2, so 8.
    """
    rule = build_algorithm(FederationConfig(trunk_weights=TrunkWeights.EQUAL))
    result = fold(
        rule,
        (site([2, 4], 14.0), {"encoder": 1, "heads.ef": 1}),
        (site([6, 0], 6.0), {"encoder": 3, "heads.ef": 3}),
    )
    np.testing.assert_array_equal(result["encoder.w"], [4.0, 2.0])
    np.testing.assert_array_equal(result["heads.ef.w"], [8.0])


#: Who has what: a all four of the ventricle, b an EF alone, c grades of stenosis.
MEASURED = {
    "a": {"encoder": 6, "heads.ef": 6, "heads.esv": 6, "heads.edv": 6, "heads.reduced_ef": 6},
    "b": {"encoder": 2, "heads.ef": 2, "heads.reduced_ef": 2},
    "c": {"encoder": 1, "heads.as_grade": 1},
}
MOVED = {"a": [1.0, 2.0], "b": [9.0, 2.0], "c": [1.0, 10.0]}


def trunk_by_family(present: str, announced: Mapping[str, Mapping[str, int]]) -> np.ndarray:
    """The encoder that those present make of it."""
    config = FederationConfig(trunk_weights=TrunkWeights.TASK_FAMILY)
    running = build_algorithm(config, announced).start(GLOBAL, GLOBAL)
    for name in present:
        running.add(site(MOVED[name]), MEASURED[name])
    return running.finish()["encoder.w"]


def test_families_weigh_alike_whatever_tasks_and_clips_they_have() -> None:
    """EF and what comes of it are one family of 8 clips, stenosis one of 1: a weighs 6/8, b 2/8,
    c 1/1. Moves (0, 0), (8, 0), (0, 8): (8 * .25, 8 * 1) / 2 = (1, 4); so (1, 2) becomes (2, 6).

    By clips, c would weigh 1 of 9; were each task a family, a would weigh 3.5 of 5.
    """
    np.testing.assert_array_equal(trunk_by_family("abc", MEASURED), [2.0, 6.0])


def test_a_family_of_which_a_site_is_missing_weighs_less() -> None:
    """Without a, families keep the totals that were announced: b weighs 2/8 and c 1.

    (8 * .25, 8) / 1.25 = (1.6, 6.4): a family counts by the part of its clips that came, and b does
    not step in for a.
    """
    np.testing.assert_allclose(trunk_by_family("bc", MEASURED), [2.6, 8.4], rtol=1e-6)


def test_a_site_with_labels_of_two_families_counts_in_both() -> None:
    """d has 4 EF and 1 view of 4 and 2 in all, e 1 view: d weighs 1 + 1/2, e 1/2.

    Moves (4, 0) and (0, 4): (4 * 1.5, 4 * .5) / 2 = (3, 1); so (4, 3).
    """
    counts = {
        "d": {"encoder": 4, "heads.ef": 4, "heads.view": 1},
        "e": {"encoder": 1, "heads.view": 1},
    }
    config = FederationConfig(trunk_weights=TrunkWeights.TASK_FAMILY)
    running = build_algorithm(config, counts).start(GLOBAL, GLOBAL)
    running.add(site([5, 2], 10.0) | {"heads.view.w": GLOBAL["heads.view.w"]}, counts["d"])
    running.add(site([1, 6]) | {"heads.view.w": GLOBAL["heads.view.w"]}, counts["e"])
    np.testing.assert_array_equal(running.finish()["encoder.w"], [4.0, 3.0])


@pytest.mark.parametrize("weights", list(TrunkWeights))
def test_pre_training_counts_by_clips_whatever_fine_tuning_does(weights: TrunkWeights) -> None:
    """1 and 3 clips, as in the first test of FedAvg."""
    announced = {"a": {"encoder": 1, "heads.ef": 1}, "b": {"encoder": 3, "heads.as_grade": 3}}
    rule = build_algorithm(FederationConfig(trunk_weights=weights), announced, Phase.PRETRAIN)
    result = fold(rule, (site([2, 4]), {"encoder": 1}), (site([6, 0]), {"encoder": 3}))
    np.testing.assert_array_equal(result["encoder.w"], [5.0, 1.0])


def test_a_site_that_trained_no_head_cannot_outweigh_the_others() -> None:
    """b claims 1000 clips of the trunk and no label. Equal: it weighs as a does. By family: not at
    all, and alone it leaves the trunk as it was.
    """
    announced = {"a": {"encoder": 1, "heads.ef": 1}, "b": {"encoder": 1000, "heads.ef": 1000}}
    a, b = (site([2, 4], 10.0), announced["a"]), (site([6, 0]), {"encoder": 1000})
    equal = build_algorithm(FederationConfig(trunk_weights=TrunkWeights.EQUAL), announced)
    np.testing.assert_array_equal(fold(equal, a, b)["encoder.w"], [4.0, 2.0])
    family = build_algorithm(FederationConfig(trunk_weights=TrunkWeights.TASK_FAMILY), announced)
    np.testing.assert_array_equal(fold(family, a, b)["encoder.w"], [2.0, 4.0])
    np.testing.assert_array_equal(fold(family, b)["encoder.w"], GLOBAL["encoder.w"])


def test_every_task_is_of_the_family_that_it_is_read_from() -> None:
    ventricle = {Task.EF, Task.ESV, Task.EDV, Task.REDUCED_EF}
    families = {family: {t for t in Task if TASKS[t].family is family} for family in TaskFamily}
    assert families == {
        TaskFamily.VENTRICLE: ventricle,
        TaskFamily.AORTIC_STENOSIS: {Task.AS_GRADE, Task.AS_CLASS},
        TaskFamily.VIEW: {Task.VIEW},
    }


def test_add_returns_the_norm_of_the_change() -> None:
    """Moves (3, 0) and (4): sqrt(9 + 16) = 5."""
    running = build_algorithm(FederationConfig()).start(GLOBAL, GLOBAL)
    assert running.add(site([4, 2], 14.0), {"encoder": 1, "heads.ef": 1}) == pytest.approx(5.0)


def test_fedprox_tells_the_sites_its_mu_and_fedavg_nothing() -> None:
    prox = FederationConfig(aggregation=Aggregation.FEDPROX, proximal_mu=0.25)
    assert build_algorithm(prox).instruct() == {"proximal_mu": 0.25}
    assert build_algorithm(FederationConfig(proximal_mu=0.25)).instruct() == {}


def test_half_precision_on_the_wire_does_not_move_a_model_that_nobody_moved() -> None:
    """0.1 is not an fp16 number. What was sent is fp16(0.1); a site that returns just that has
    changed nothing, so the float32 model must stay exactly 0.1."""
    current = {"encoder.w": np.array([0.1], np.float32)}
    sent = {"encoder.w": current["encoder.w"].astype(np.float16)}
    running = build_algorithm(FederationConfig()).start(sent, current)
    running.add(sent, {"encoder": 5})
    np.testing.assert_array_equal(running.finish()["encoder.w"], current["encoder.w"])


def test_chunks_do_not_change_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base = {"encoder.w": rng.normal(size=(7, 5)).astype(np.float32)}
    moved = [{"encoder.w": rng.normal(size=(7, 5)).astype(np.float32)} for _ in range(3)]
    results = []
    for chunk in (4, 1000):
        monkeypatch.setattr("server.aggregation._api.CHUNK", chunk)
        running = build_algorithm(FederationConfig()).start(base, base)
        for count, weights in enumerate(moved, start=1):
            running.add(weights, {"encoder": count})
        results.append(running.finish()["encoder.w"])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 77])
def test_a_sum_of_squares_is_that_of_its_pieces_one_after_the_other(size: int) -> None:
    """Bit for bit a float32 dot product a piece, added up in float64: norms in journals stay."""
    values = np.random.default_rng(size).standard_normal(size, np.float32)
    expected = 0.0
    for begin in range(0, size, PIECE):
        piece = values[begin : begin + PIECE]
        expected += float(np.dot(piece, piece))
    assert sum_of_squares(values) == expected
