from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean

from echofm_core.contract import Weights
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm
from server.aggregation.trimmed_mean import trimmed

START = {
    "encoder.w": np.array([1.0, 2.0], np.float32),
    "heads.ef.w": np.array([5.0], np.float32),
}


def trimmed_mean(share: float = 0.2, folder: Path | None = None) -> Algorithm:
    config = FederationConfig(aggregation=Aggregation.TRIMMED_MEAN, trimmed_share=share)
    return build_algorithm(config, folder=folder)


def test_by_hand_with_a_site_that_lies() -> None:
    """Changes of the first number 1, 2, 900, 3, 7, of the second -1, 3, -900, 5, 1.

    A fifth of five is one at each end: (2 + 3 + 7)/3 = 4 and (-1 + 1 + 3)/3 = 1. The head is
    trained by two sites alone, by 2 and 4, of which none is left out: 3.
    """
    running = trimmed_mean().start(START, START)
    sites = [([2, 1], 7.0), ([3, 5], 9.0), ([901, -898], None), ([4, 7], None), ([8, 3], None)]
    for encoder, head in sites:
        weights, counts = {"encoder.w": np.array(encoder, np.float32)}, {"encoder": 1}
        if head:
            weights["heads.ef.w"], counts["heads.ef"] = np.array([head], np.float32), 9
        running.add(weights, counts)
    model = running.finish()
    np.testing.assert_array_equal(model["encoder.w"], [5.0, 3.0])
    np.testing.assert_array_equal(model["heads.ef.w"], [8.0])


@pytest.mark.parametrize(
    ("sites", "share", "out"),
    [(1, 0.4, 0), (2, 0.4, 0), (3, 0.1, 1), (5, 0.2, 1), (6, 0.2, 2), (7, 0.0, 0), (100, 0.07, 7)],
)
def test_how_many_are_left_out(sites: int, share: float, out: int) -> None:
    """Rounded up; one or two are left in the middle at least."""
    assert trimmed(sites, share) == out


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_nothing_and_what_waits_on_disk_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk: int
) -> None:
    """Against SciPy's trimmed mean of whole arrays; 0.25 of eight is two at each end."""
    for module in ("_api", "on_disk"):
        monkeypatch.setattr(f"server.aggregation.{module}.CHUNK", chunk)
    moved = np.random.default_rng(0).normal(size=(8, 5, 6)).astype(np.float32)
    zero = {"encoder.w": np.zeros((5, 6), np.float32)}
    running = trimmed_mean(0.25, tmp_path).start(zero, zero)
    for array in moved:
        norm = running.add({"encoder.w": array}, {"encoder": 1})
        assert norm == pytest.approx(float(np.linalg.norm(array)), rel=1e-6)
    expected = trim_mean(moved.astype(np.float64), 0.25, axis=0)
    np.testing.assert_allclose(running.finish()["encoder.w"], expected, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_a_bowl_is_descended_in_spite_of_a_site_that_lies() -> None:
    """Four sites have f = (x - c)^2 / 2 with c = 1, 2, 3, 4; the fifth says +1000 in each round.

    A step moves a site by half of its way to c: c = 1 and the liar are always at the ends, so the
    model settles at the mean of 2, 3 and 4. The median of the five would too; the mean runs away.
    """
    rule = trimmed_mean()
    model: Weights = {"encoder.w": np.zeros(1, np.float32)}
    for _ in range(40):
        running = rule.start(model, model)
        for change in (*(0.5 * (c - model["encoder.w"]) for c in (1, 2, 3, 4)), 1000.0):
            local = (model["encoder.w"] + change).astype(np.float32)
            running.add({"encoder.w": local}, {"encoder": 1})
        model = running.finish()
    np.testing.assert_allclose(model["encoder.w"], [3.0], atol=1e-4)
