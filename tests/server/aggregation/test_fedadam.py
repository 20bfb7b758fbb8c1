from __future__ import annotations

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {"encoder.w": np.array([1.0], np.float32), "heads.ef.w": np.array([5.0], np.float32)}


def adam(rate: float = 12.0, beta1: float = 0.5, beta2: float = 0.5, tau: float = 1.0) -> Algorithm:
    return build_algorithm(
        FederationConfig(
            aggregation=Aggregation.FEDADAM,
            server_learning_rate=rate,
            server_beta1=beta1,
            server_beta2=beta2,
            server_tau=tau,
        )
    )


def moved(rule: Algorithm, start: Weights, change: float) -> Weights:
    """The model after a round in which two sites move the encoder by half and by 1.5 changes."""
    running = rule.start(start, start)
    for part in (0.5, 1.5):
        running.add({"encoder.w": start["encoder.w"] + np.float32(part * change)}, {"encoder": 3})
    return running.finish()


def test_two_steps_by_hand() -> None:
    """From m = 0 and v = tau^2 = 1, with beta1 = beta2 = 1/2 and rate 12.

    A mean change of 7: m = 3.5, v = (1 + 49)/2 = 25, step 12 * 3.5 / (5 + 1) = 7.
    Then one of 35: m = (3.5 + 35)/2 = 19.25, v = (25 + 1225)/2 = 625, step 12 * 19.25 / 26.
    """
    rule = adam()
    first = moved(rule, START, 7.0)
    np.testing.assert_allclose(first["encoder.w"], [1 + 7], rtol=1e-6)
    second = moved(rule, first, 35.0)
    np.testing.assert_allclose(second["encoder.w"], [8 + 12 * 19.25 / 26], rtol=1e-6)
    state = {part: dict(arrays) for part, arrays in rule.state()}
    np.testing.assert_allclose(state["first-moment"]["encoder.w"], [19.25])
    np.testing.assert_allclose(state["second-moment"]["encoder.w"], [625.0])


def test_a_group_that_nobody_trained_has_no_step_and_no_moments() -> None:
    """A moment of the head would move it on in rounds without a site that has its labels."""
    rule = adam()
    running = rule.start(START, START)
    running.add({"heads.ef.w": np.array([6.0], np.float32)}, {"heads.ef": 2})
    trained = running.finish()
    assert trained["heads.ef.w"] != START["heads.ef.w"]
    assert moved(rule, trained, 7.0)["heads.ef.w"] == trained["heads.ef.w"]


@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Against Adam's step on whole arrays, in float32."""
    monkeypatch.setattr("server.aggregation._api.CHUNK", chunk)
    change = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    start = {"encoder.w": np.zeros((3, 3), np.float32)}
    running = adam(0.1, 0.9, 0.99, 1e-3).start(start, start)
    running.add({"encoder.w": change}, {"encoder": 1})
    beta1, beta2, tau = np.float32(0.9), np.float32(0.99), np.float32(1e-3)
    second = beta2 * (tau * tau) + (1 - beta2) * change**2
    step = np.float32(0.1) * ((1 - beta1) * change) / (np.sqrt(second) + tau)
    np.testing.assert_array_equal(running.finish()["encoder.w"], step)


def test_a_badly_scaled_bowl_is_descended_along_its_flat_side_too() -> None:
    """Two sites with f = 50 (x - 1)^2 + 0.005 (y -+ 3)^2 + 0.005 (y - 4)^2: optimum (1, 2), (1, 2).

    Site optima of y are (3 + 4)/2 and (-3 + 4)/2, whose mean is 2; curvatures are 100 and 0.02.
    A local step of 0.01 along the gradient solves x at once and moves y by 0.02 % of its way: after
    300 rounds FedAvg still has 0.94 of it, (1 - 0.0002)^300. FedAdam divides by the size of the
    changes and arrives.
    """
    arrived = []
    for rule in (adam(0.05, 0.9, 0.9, 1e-5), build_algorithm(FederationConfig())):
        model: Weights = {"encoder.w": np.array([0.0, 0.0], np.float32)}
        for _ in range(300):
            running = rule.start(model, model)
            for pull in (3.0, -3.0):
                x, y = model["encoder.w"]
                slope = [100 * (x - 1), 0.01 * (y - pull) + 0.01 * (y - 4)]
                local = model["encoder.w"] - np.float32(0.01) * np.array(slope, np.float32)
                running.add({"encoder.w": local}, {"encoder": 1})
            model = running.finish()
        arrived.append(model["encoder.w"])
    np.testing.assert_allclose(arrived[0], [1, 2], atol=0.02)
    np.testing.assert_allclose(arrived[1], [1, 2 * (1 - 0.9998**300)], rtol=1e-3)
