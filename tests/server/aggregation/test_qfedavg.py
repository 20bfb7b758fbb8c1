from __future__ import annotations

import numpy as np
import pytest

from echofm_core.contract import Phase, Update, Weights
from echofm_core.plan.federation import Aggregation, FederationConfig, TrunkWeights
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {"encoder.w": np.array([1.0, 2.0], np.float32)}


def fair(q: float, lipschitz: float = 0.0, weights: TrunkWeights = TrunkWeights.EQUAL) -> Algorithm:
    return build_algorithm(
        FederationConfig(
            aggregation=Aggregation.QFEDAVG,
            fairness_q=q,
            fairness_lipschitz=lipschitz,
            trunk_weights=weights,
        )
    )


def reply(encoder: object, loss: float, clips: int = 1) -> Update:
    return Update(
        site="a",
        phase=Phase.FINETUNE,
        round=1,
        plan_hash="x",
        weights={"encoder.w": np.array(encoder, np.float32)},
        counts={"encoder": clips},
        metrics={},
        checksum=0,
        numbers={"global_loss": loss},
    )


def fold(rule: Algorithm, *updates: Update, start: Weights = START) -> Weights:
    running = rule.start(start, start)
    for update in updates:
        running.add(update.weights, update.counts, update)
    return running.finish()


#: Changes (3, 4), of norm 5, at a loss of 2, and (-6, 8), of norm 10, at a loss of 4.
UPDATES = reply([4, 6], 2.0), reply([-5, 10], 4.0)


def test_an_update_of_the_paper_by_hand() -> None:
    """q = 2, L = 0.1. Numerator 4 (3, 4) + 16 (-6, 8) = (-84, 144).

    Denominator 4 + 2 * 0.1 * 2 * 25 + 16 + 2 * 0.1 * 4 * 100 = 4 + 10 + 16 + 80 = 110.
    """
    model = fold(fair(2, 0.1), *UPDATES)
    np.testing.assert_allclose(model["encoder.w"], [1 - 84 / 110, 2 + 144 / 110], rtol=1e-5)


def test_a_loss_of_zero_moves_a_group_that_one_site_alone_trains() -> None:
    """Its power, 1e-50, is no float32: what it changed would come to 0 / 0."""
    model = fold(fair(5), reply([4, 6], 0.0))
    np.testing.assert_allclose(model["encoder.w"], [4, 6], rtol=1e-6)


def test_without_the_constant_it_is_a_mean_by_powers_of_the_loss() -> None:
    """q = 2: weights 4 and 16 of 20, so (-84, 144) / 20. By clips, 3 and 1: 12 and 16 of 28."""
    model = fold(fair(2), *UPDATES)
    np.testing.assert_allclose(model["encoder.w"], [1 - 4.2, 2 + 7.2], rtol=1e-5)
    by_clips = fold(
        fair(2, weights=TrunkWeights.CLIPS), reply([4, 6], 2.0, clips=3), reply([-5, 10], 4.0)
    )
    expected = [1 + (36 - 96) / 28, 2 + (48 + 128) / 28]
    np.testing.assert_allclose(by_clips["encoder.w"], expected, rtol=1e-5)


def test_q_of_zero_is_fedavg_whatever_the_losses() -> None:
    """The mean of (3, 4) and (-6, 8) is (-1.5, 6)."""
    model = fold(fair(0, 7.0), *UPDATES)
    np.testing.assert_allclose(model["encoder.w"], [-0.5, 8.0], rtol=1e-6)


def test_a_loss_of_zero_stops_nothing() -> None:
    """With q below 1 its power in the denominator would be infinite."""
    model = fold(fair(0.5), reply([4, 6], 0.0), reply([-5, 10], 4.0))
    np.testing.assert_allclose(model["encoder.w"], [-5, 10], rtol=1e-4)


def test_a_denominator_beyond_float32_is_divided_by_all_the_same() -> None:
    """q = 5, L = 1e9, a loss of 1000, a change of (1e15, 0): 1e15 (1e15, 0) over 1e15 + 5e51.

    That is 2e-22. Beside a site that has not moved at the same loss: 1e15 + 1e15 beside 5e51.
    """
    zero = {"encoder.w": np.zeros(2, np.float32)}
    far, still = reply([1e15, 0], 1000.0), reply([0, 0], 1000.0)
    for updates in ((far,), (far, still)):
        model = fold(fair(5, 1e9), *updates, start=zero)
        np.testing.assert_allclose(model["encoder.w"], [2e-22, 0], rtol=1e-5)


@pytest.mark.parametrize("lipschitz", [0.0, 10.0])
def test_it_settles_at_the_optimum_of_the_fair_objective(lipschitz: float) -> None:
    """f_a = x^2 / 2 and f_b = 3 (x - 4)^2 / 2; a local step of 0.1, so that L is 10 or left out.

    FedAvg settles where the slopes cancel: x = 3, losses 4.5 and 1.5. For q = 1 the objective is
    (f_a^2 + f_b^2) / 2, least where x^3 = 9 (4 - x)^3: with c = 9^(1/3), x = 4 c / (1 + c) = 2.701,
    losses 3.65 and 2.53.
    """
    rule = fair(1, lipschitz)
    model: Weights = {"encoder.w": np.zeros(1, np.float32)}
    for _ in range(600):
        updates = []
        for curve, optimum in ((1.0, 0.0), (3.0, 4.0)):
            away = float(model["encoder.w"][0]) - optimum
            local = model["encoder.w"] - np.float32(0.1 * curve * away)
            updates.append(reply(local, curve / 2 * away**2))
        model = fold(rule, *updates, start=model)
    root = 9 ** (1 / 3)
    np.testing.assert_allclose(model["encoder.w"], [4 * root / (1 + root)], atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_no_bit(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Against whole arrays, in float32."""
    monkeypatch.setattr("server.aggregation._api.CHUNK", chunk)
    one, two = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    zero = {"encoder.w": np.zeros((5, 6), np.float32)}
    model = fold(fair(1), reply(one, 1.0), reply(two, 3.0), start=zero)
    expected = (one * np.float32(1) + two * np.float32(3)) / np.float32(4)
    np.testing.assert_allclose(model["encoder.w"], expected, rtol=1e-6)
