from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

START = {
    "encoder.w": np.array([1.0, 2.0], np.float32),
    "heads.ef.w": np.array([5.0], np.float32),
}


def median(folder: Path | None = None) -> Algorithm:
    config = FederationConfig(aggregation=Aggregation.MEDIAN)
    return build_algorithm(config, folder=folder)


def test_by_hand_with_a_site_that_lies() -> None:
    """Changes of the first number 1, 2, 900 and of the second -1, 3, -900: medians 2 and -1.

    The head is trained by two sites alone, by 2 and 4: 3. The liar claims a thousand clips.
    """
    running = median().start(START, START)
    head = {"heads.ef.w": np.array([7.0], np.float32)}
    running.add(head | {"encoder.w": np.array([2, 1], "f4")}, {"encoder": 1, "heads.ef": 1})
    running.add({"encoder.w": np.array([901, -898], "f4")}, {"encoder": 1000})
    head = {"heads.ef.w": np.array([9.0], np.float32)}
    running.add(head | {"encoder.w": np.array([3, 5], "f4")}, {"encoder": 1, "heads.ef": 9})
    model = running.finish()
    np.testing.assert_array_equal(model["encoder.w"], [3.0, 1.0])
    np.testing.assert_array_equal(model["heads.ef.w"], [8.0])


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_no_bit_and_what_waits_on_disk_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk: int
) -> None:
    """Against numpy's median of whole arrays."""
    for module in ("_api", "on_disk"):
        monkeypatch.setattr(f"server.aggregation.{module}.CHUNK", chunk)
    rng = np.random.default_rng(0)
    base = {"encoder.w": rng.normal(size=(5, 6)).astype(np.float32)}
    moved = [rng.normal(size=(5, 6)).astype(np.float32) for _ in range(4)]
    running = median(tmp_path).start(base, base)
    for array in moved:
        norm = running.add({"encoder.w": array}, {"encoder": 1})
        assert norm == pytest.approx(float(np.linalg.norm(array - base["encoder.w"])), rel=1e-6)
    expected = base["encoder.w"] + np.median([array - base["encoder.w"] for array in moved], axis=0)
    np.testing.assert_array_equal(running.finish()["encoder.w"], expected)
    assert not list(tmp_path.iterdir())
