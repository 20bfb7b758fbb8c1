from __future__ import annotations

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {"encoder.w": np.array([1.0], np.float32), "heads.ef.w": np.array([5.0], np.float32)}


def momentum(beta: float) -> Algorithm:
    config = FederationConfig(aggregation=Aggregation.FEDAVGM, server_momentum=beta)
    return build_algorithm(config)


def moved(rule: Algorithm, start: Weights, change: float) -> Weights:
    """The model after a round in which two sites move the encoder by half and by 1.5 changes."""
    running = rule.start(start, start)
    for part in (0.5, 1.5):
        running.add({"encoder.w": start["encoder.w"] + np.float32(part * change)}, {"encoder": 3})
    return running.finish()


def test_three_rounds_by_hand() -> None:
    """beta = 1/2, mean changes 8, 2 and 0: v = 8, then 4 + 2 = 6, then 3; w = 1, 9, 15, 18."""
    rule, model = momentum(0.5), START
    for change, where in ((8.0, 9.0), (2.0, 15.0), (0.0, 18.0)):
        model = moved(rule, model, change)
        np.testing.assert_array_equal(model["encoder.w"], [where])
    state = {part: dict(arrays) for part, arrays in rule.state()}
    np.testing.assert_array_equal(state["velocity"]["encoder.w"], [3.0])


def test_a_group_that_nobody_trained_stays_in_spite_of_its_velocity() -> None:
    """The head moved by 1; in a round without a site that has its labels it stays at 6."""
    rule = momentum(0.5)
    running = rule.start(START, START)
    running.add({"heads.ef.w": np.array([6.0], np.float32)}, {"heads.ef": 2})
    model = moved(rule, running.finish(), 8.0)
    np.testing.assert_array_equal(model["heads.ef.w"], [6.0])
    assert set(dict(rule.state())["velocity"]) == {"encoder.w", "heads.ef.w"}


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Two rounds of changes of one site, against the rule on whole arrays, in float32."""
    monkeypatch.setattr("server.aggregation._api.CHUNK", chunk)
    first, second = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    rule, zero = momentum(0.9), {"encoder.w": np.zeros((3, 3), np.float32)}
    for change in (first, second):
        running = rule.start(zero, zero)
        running.add({"encoder.w": change}, {"encoder": 1})
        model = running.finish()
    np.testing.assert_array_equal(model["encoder.w"], second + np.float32(0.9) * first)


def test_a_bowl_is_descended_faster_than_without_momentum() -> None:
    """Sites have f = (x -+ 3)^2 / 2 + (x - 4)^2 / 2, whose sum is least at x = 2.

    A local step of 0.005 along the gradient moves the model by 1 % of what is left: after 100
    rounds FedAvg has 0.99^100 = 0.366 of the way before it. With a momentum of 0.9 the roots of
    z^2 - (1.9 - 0.01) z + 0.9 have a modulus of 0.949: 0.949^100 = 0.005 is left, times at most 5.
    """
    left = []
    for rule in (momentum(0.9), build_algorithm(FederationConfig())):
        model: Weights = {"encoder.w": np.zeros(1, np.float32)}
        for _ in range(100):
            running = rule.start(model, model)
            for pull in (3.0, -3.0):
                slope = (model["encoder.w"] - pull) + (model["encoder.w"] - 4)
                local = model["encoder.w"] - np.float32(0.005) * slope
                running.add({"encoder.w": local}, {"encoder": 1})
            model = running.finish()
        left.append(abs(float(model["encoder.w"][0]) - 2) / 2)
    assert left[0] < 0.03
    assert left[1] == pytest.approx(0.99**100, rel=1e-3)
