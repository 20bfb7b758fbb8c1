"""The server's adaptive optimizers: what holds of all three; their steps are in a file each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {"encoder.w": np.array([1.0], np.float32), "heads.ef.w": np.array([5.0], np.float32)}
F32 = np.float32

#: Rule -> second moment after a change, from the one before, in float32.
SECOND: dict[Aggregation, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    Aggregation.FEDADAM: lambda v, d: F32(0.99) * v + (1 - F32(0.99)) * d**2,
    Aggregation.FEDYOGI: lambda v, d: v - (1 - F32(0.99)) * d**2 * np.sign(v - d**2),
    Aggregation.FEDADAGRAD: lambda v, d: v + d**2,
}


def adaptive(
    name: Aggregation,
    rate: float = 12.0,
    beta1: float = 0.5,
    beta2: float = 0.5,
    tau: float = 1.0,
) -> Algorithm:
    return build_algorithm(
        FederationConfig(
            aggregation=name,
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
        running.add({"encoder.w": start["encoder.w"] + F32(part * change)}, {"encoder": 3})
    return running.finish()


def moments(rule: Algorithm) -> tuple[np.ndarray, np.ndarray]:
    """First and second moment of the encoder, as the journal keeps them."""
    state = {part: dict(arrays) for part, arrays in rule.state()}
    return state["first-moment"]["encoder.w"], state["second-moment"]["encoder.w"]


@pytest.mark.parametrize("name", SECOND)
def test_a_group_that_nobody_trained_has_no_step_and_no_moments(name: Aggregation) -> None:
    """A moment of the head would move it on in rounds without a site that has its labels."""
    rule = adaptive(name)
    running = rule.start(START, START)
    running.add({"heads.ef.w": np.array([6.0], F32)}, {"heads.ef": 2})
    trained = running.finish()
    assert trained["heads.ef.w"] != START["heads.ef.w"]
    assert moved(rule, trained, 7.0)["heads.ef.w"] == trained["heads.ef.w"]


@pytest.mark.parametrize("chunk", [1, 4, 1000])
@pytest.mark.parametrize("name", SECOND)
def test_chunks_change_no_bit(
    monkeypatch: pytest.MonkeyPatch, name: Aggregation, chunk: int
) -> None:
    """Against the optimizer's step on whole arrays, in float32."""
    monkeypatch.setattr("server.aggregation._api.CHUNK", chunk)
    change = np.random.default_rng(0).normal(size=(3, 3)).astype(F32)
    start = {"encoder.w": np.zeros((3, 3), F32)}
    running = adaptive(name, 0.1, 0.9, 0.99, 1e-3).start(start, start)
    running.add({"encoder.w": change}, {"encoder": 1})
    beta1, tau = F32(0.9), F32(1e-3)
    second = SECOND[name](np.full_like(change, tau * tau), change)
    step = F32(0.1) * ((1 - beta1) * change) / (np.sqrt(second) + tau)
    np.testing.assert_array_equal(running.finish()["encoder.w"], step)


@pytest.mark.parametrize(
    ("name", "rate"),
    [(Aggregation.FEDADAM, 0.05), (Aggregation.FEDYOGI, 0.05), (Aggregation.FEDADAGRAD, 0.5)],
)
def test_a_badly_scaled_bowl_is_descended_along_its_flat_side_too(
    name: Aggregation, rate: float
) -> None:
    """Two sites with f = 50 (x - 1)^2 + 0.005 (y -+ 3)^2 + 0.005 (y - 4)^2: optimum (1, 2), (1, 2).

    Site optima of y are (3 + 4)/2 and (-3 + 4)/2, whose mean is 2; curvatures are 100 and 0.02.
    A local step of 0.01 along the gradient solves x at once and moves y by 0.02 % of its way: after
    300 rounds FedAvg still has 0.94 of it, (1 - 0.0002)^300. The adaptive rules divide by the size
    of the changes and arrive.
    """
    arrived = []
    for rule in (adaptive(name, rate, 0.9, 0.9, 1e-5), build_algorithm(FederationConfig())):
        model: Weights = {"encoder.w": np.array([0.0, 0.0], F32)}
        for _ in range(300):
            running = rule.start(model, model)
            for pull in (3.0, -3.0):
                x, y = model["encoder.w"]
                slope = [100 * (x - 1), 0.01 * (y - pull) + 0.01 * (y - 4)]
                local = model["encoder.w"] - F32(0.01) * np.array(slope, F32)
                running.add({"encoder.w": local}, {"encoder": 1})
            model = running.finish()
        arrived.append(model["encoder.w"])
    np.testing.assert_allclose(arrived[0], [1, 2], atol=0.02)
    np.testing.assert_allclose(arrived[1], [1, 2 * (1 - 0.9998**300)], rtol=1e-3)
