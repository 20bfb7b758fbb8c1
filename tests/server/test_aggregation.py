"""Every expected number is derived by hand in its test."""

from __future__ import annotations

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.plan import Aggregation, FederationConfig
from server.aggregation import ALGORITHMS, build_algorithm
from server.aggregation._api import Algorithm

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


@pytest.mark.parametrize("name", list(Aggregation))
class TestEveryRule:
    """The contract of all rules."""

    def test_sites_that_change_nothing_change_nothing(self, name: Aggregation) -> None:
        rule = build_algorithm(FederationConfig(aggregation=name))
        result = fold(rule, (GLOBAL, dict.fromkeys(("encoder", "heads.ef", "heads.view"), 3)))
        for key, array in GLOBAL.items():
            np.testing.assert_array_equal(result[key], array)

    def test_one_site_alone_becomes_the_model(self, name: Aggregation) -> None:
        rule = build_algorithm(FederationConfig(aggregation=name))
        result = fold(rule, (site([4.0, -2.0], 11.0), {"encoder": 7, "heads.ef": 2}))
        np.testing.assert_array_equal(result["encoder.w"], [4.0, -2.0])
        np.testing.assert_array_equal(result["heads.ef.w"], [11.0])

    def test_groups_that_nobody_trained_stay(self, name: Aggregation) -> None:
        rule = build_algorithm(FederationConfig(aggregation=name))
        result = fold(rule, (site([4.0, -2.0]), {"encoder": 7}))
        np.testing.assert_array_equal(result["heads.view.w"], [5.0])
        assert set(result) == set(GLOBAL)


def test_every_plan_name_has_a_rule() -> None:
    assert set(ALGORITHMS) == set(Aggregation)


def test_fedavg_weights_by_clips() -> None:
    """Site a: 1 clip, moves (+1, +2); b: 3 clips, moves (+5, -2).

    Mean move: (1*1 + 3*5)/4 = 4, (1*2 - 3*2)/4 = -1; so (1, 2) becomes (5, 1).
    """
    rule = build_algorithm(FederationConfig())
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
    rule = build_algorithm(FederationConfig())
    result = fold(
        rule,
        (site([1, 2], 14.0), {"encoder": 1, "heads.ef": 2}),
        (site([1, 2], 6.0), {"encoder": 3, "heads.ef": 6}),
        (site([3, 4]), {"encoder": 4}),
    )
    np.testing.assert_array_equal(result["heads.ef.w"], [8.0])
    np.testing.assert_array_equal(result["encoder.w"], [2.0, 3.0])


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
