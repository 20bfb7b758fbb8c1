from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {
    "encoder.v": np.array([1.0], np.float32),
    "encoder.w": np.array([2.0], np.float32),
    "heads.ef.w": np.array([5.0], np.float32),
}
#: Changes of the encoder at five sites, the last of which lies.
MOVED = ((1, 1), (2, 1), (1, 3), (4, 4), (900, -900))


def krum(faulty: int = 1, keep: int = 1, folder: Path | None = None) -> Algorithm:
    config = FederationConfig(
        aggregation=Aggregation.KRUM, faulty_sites=faulty, kept_sites=keep, min_sites=2 * faulty + 3
    )
    return build_algorithm(config, folder=folder)


def encoder(rule: Algorithm) -> list[float]:
    """How far the encoder, of two arrays, moves in a round of :data:`MOVED`."""
    running = rule.start(START, START)
    for first, second in MOVED:
        moved = {"encoder.v": first, "encoder.w": second}
        weights = {name: START[name] + np.float32(change) for name, change in moved.items()}
        running.add(weights, {"encoder": 1})
    model = running.finish()
    return [float((model[name] - START[name])[0]) for name in ("encoder.v", "encoder.w")]


def test_by_hand() -> None:
    """Of five with one faulty, the 5 - 1 - 2 = 2 closest others count.

    Squared distances: a-b 1, a-c 4, b-c 1 + 4 = 5, d-c 9 + 1 = 10, d-b 4 + 9 = 13, d-a 18. Scores:
    a 1 + 4 = 5, b 1 + 5 = 6, c 4 + 5 = 9, d 10 + 13 = 23, the liar far above. Krum takes a;
    the best three are a, b, c, whose mean is (4/3, 5/3); of four, all but the liar, (8/4, 9/4).
    """
    assert encoder(krum()) == [1, 1]
    np.testing.assert_allclose(encoder(krum(keep=3)), [4 / 3, 5 / 3], rtol=1e-6)
    np.testing.assert_allclose(encoder(krum(keep=4)), [2, 2.25], rtol=1e-6)
    assert encoder(krum(keep=100)) == encoder(krum(keep=4))


def test_a_head_that_few_sites_train_moves_by_their_median() -> None:
    """Three sites with labels are too few to tell a liar: of 1, 2 and 900 the median is 2.

    The encoder of the same round goes by Krum, from the sites a to d and the liar.
    """
    running = krum().start(START, START)
    for (first, second), head in zip(MOVED, (1, 2, None, None, 900), strict=True):
        weights = {
            "encoder.v": START["encoder.v"] + np.float32(first),
            "encoder.w": START["encoder.w"] + np.float32(second),
        }
        counts = {"encoder": 1}
        if head:
            weights["heads.ef.w"] = START["heads.ef.w"] + np.float32(head)
            counts["heads.ef"] = 1
        running.add(weights, counts)
    model = running.finish()
    np.testing.assert_array_equal(model["heads.ef.w"], [7.0])
    np.testing.assert_array_equal(model["encoder.v"], [2.0])


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_nothing_and_what_waits_on_disk_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk: int
) -> None:
    """Against the paper's words on whole vectors: nine sites, two faulty, three kept."""
    for module in ("_api", "on_disk"):
        monkeypatch.setattr(f"server.aggregation.{module}.CHUNK", chunk)
    moved = np.random.default_rng(3).normal(size=(9, 5, 6)).astype(np.float32)
    zero = {"encoder.w": np.zeros((5, 6), np.float32)}
    running = krum(2, 3, tmp_path).start(zero, zero)
    for array in moved:
        running.add({"encoder.w": array}, {"encoder": 1})
    flat = moved.reshape(9, 30).astype(np.float64)
    scores = [
        sum(sorted(((one - other) ** 2).sum() for j, other in enumerate(flat) if j != i)[: 9 - 4])
        for i, one in enumerate(flat)
    ]
    best = sorted(range(9), key=lambda site: scores[site])[:3]
    np.testing.assert_allclose(running.finish()["encoder.w"], moved[best].mean(axis=0), atol=1e-6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("keep", "where"), [(1, 2.0), (3, 5 / 3)])
def test_a_bowl_is_descended_in_spite_of_a_site_that_lies(keep: int, where: float) -> None:
    """Four sites have f = (x - c)^2 / 2 with c = 0, 2, 3, 6; the fifth says +1000 in each round.

    A step moves a site by half of its way, so changes differ by half of what the c do. Scores by
    the two closest, times 4: 4 + 9 = 13, 1 + 4 = 5, 1 + 9 = 10, 9 + 16 = 25. Krum follows c = 2;
    the best three are 0, 2, 3, whose mean is 5/3.
    """
    rule = krum(keep=keep)
    model: Weights = {"encoder.w": np.zeros(1, np.float32)}
    for _ in range(40):
        running = rule.start(model, model)
        for change in (*(0.5 * (c - model["encoder.w"]) for c in (0, 2, 3, 6)), 1000.0):
            local = (model["encoder.w"] + change).astype(np.float32)
            running.add({"encoder.w": local}, {"encoder": 1})
        model = running.finish()
    np.testing.assert_allclose(model["encoder.w"], [where], atol=1e-4)
