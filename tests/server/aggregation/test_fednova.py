from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from echofm_core.contract import Phase, Update, Weights
from echofm_core.plan.federation import Aggregation, FederationConfig, TrunkWeights
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {"encoder.w": np.array([1.0, 2.0], np.float32), "heads.ef.w": np.array([5.0], np.float32)}


def rule_of(
    name: Aggregation = Aggregation.FEDNOVA, weights: TrunkWeights = TrunkWeights.EQUAL
) -> Algorithm:
    return build_algorithm(FederationConfig(aggregation=name, trunk_weights=weights))


def reply(weights: Mapping[str, object], counts: dict[str, int], steps: float) -> Update:
    return Update(
        site="a",
        phase=Phase.FINETUNE,
        round=1,
        plan_hash="x",
        weights={name: np.array(values, np.float32) for name, values in weights.items()},
        counts=counts,
        metrics={},
        checksum=0,
        numbers={"local_steps": steps},
    )


def fold(rule: Algorithm, *updates: Update, start: Weights = START) -> Weights:
    running = rule.start(start, start)
    for update in updates:
        running.add(update.weights, update.counts, update)
    return running.finish()


def test_an_update_by_hand() -> None:
    """a takes 2 steps and moves by (2, 4), b 6 steps and moves by (12, 0); they weigh alike.

    By the step (1, 2) and (2, 0), whose mean is (1.5, 1); the mean number of steps is 4: (6, 4).
    FedAvg would move by (7, 2). The head is a's alone: it moves as a moves it, by 3.
    """
    head = {"encoder.w": [3, 6], "heads.ef.w": [8]}
    updates = (
        reply(head, {"encoder": 1, "heads.ef": 1}, 2),
        reply({"encoder.w": [13, 2]}, {"encoder": 3}, 6),
    )
    model = fold(rule_of(), *updates)
    np.testing.assert_allclose(model["encoder.w"], [7, 6], rtol=1e-6)
    np.testing.assert_allclose(model["heads.ef.w"], [8], rtol=1e-6)


def test_weights_count_in_both_means() -> None:
    """By clips a weighs 1/4 and b 3/4: (0.25 + 1.5, 0.5 + 0) by the step, times 0.5 + 4.5 = 5."""
    model = fold(
        rule_of(weights=TrunkWeights.CLIPS),
        reply({"encoder.w": [3, 6]}, {"encoder": 1}, 2),
        reply({"encoder.w": [13, 2]}, {"encoder": 3}, 6),
    )
    np.testing.assert_allclose(model["encoder.w"], [1 + 1.75 * 5, 2 + 0.5 * 5], rtol=1e-6)


@pytest.mark.parametrize("weights", list(TrunkWeights))
def test_with_as_many_steps_everywhere_it_is_fedavg(weights: TrunkWeights) -> None:
    moved = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    updates = [
        reply({"encoder.w": row, "heads.ef.w": [row[0]]}, {"encoder": n, "heads.ef": n}, 12)
        for n, row in enumerate(moved, start=1)
    ]
    models = [
        fold(rule_of(name, weights), *updates) for name in (Aggregation.FEDNOVA, Aggregation.FEDAVG)
    ]
    for key, array in models[0].items():
        np.testing.assert_allclose(array, models[1][key], rtol=1e-5)


def test_it_arrives_where_fedavg_follows_the_site_that_takes_more_steps() -> None:
    """f_a = x^2 / 2 and f_b = 3 (x - 4)^2 / 2, whose sum is least at 3; a takes 1 step, b 10.

    Steps of 0.001 leave r_a = 0.999 and r_b = 0.997^10 of the way to a site's own optimum. FedAvg
    settles at 4 (1 - r_b) / ((1 - r_a) + (1 - r_b)) = 3.869, FedNova at the same with (1 - r_b)/10,
    which is 2.990 and tends to 3 with the step.
    """
    left = {"a": (0.999, 0.0, 1), "b": (0.997**10, 4.0, 10)}
    found = []
    for name in (Aggregation.FEDNOVA, Aggregation.FEDAVG):
        rule, model = rule_of(name), {"encoder.w": np.zeros(1, np.float32)}
        for _ in range(3000):
            updates = []
            for part, optimum, steps in left.values():
                local = optimum + part * (model["encoder.w"].astype(np.float64) - optimum)
                updates.append(reply({"encoder.w": local}, {"encoder": 1}, steps))
            model = {**fold(rule, *updates, start=model)}
        found.append(float(model["encoder.w"][0]))
    gone = 1 - 0.997**10
    assert found[0] == pytest.approx(4 * gone / 10 / (0.001 + gone / 10), abs=2e-3)
    assert found[0] == pytest.approx(2.990, abs=2e-3)
    assert found[1] == pytest.approx(3.869, abs=2e-3)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Against whole arrays, in float32."""
    monkeypatch.setattr("server.aggregation._api.CHUNK", chunk)
    one, two = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    zero = {"encoder.w": np.zeros((5, 6), np.float32)}
    model = fold(
        rule_of(),
        reply({"encoder.w": one}, {"encoder": 1}, 2),
        reply({"encoder.w": two}, {"encoder": 1}, 6),
        start=zero,
    )
    expected = (one * np.float32(1 / 2) + two * np.float32(1 / 6)) / np.float32(2 * 2 / 8)
    np.testing.assert_array_equal(model["encoder.w"], expected)
