from __future__ import annotations

import itertools
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from echofm_core.data.formats.bfloat16 import as_float32, to_bfloat16
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError
from server import pulled_replies
from server.pulled_replies import DownloadGate
from tests.federation.remote import RemoteGrid
from tests.federation.toy import change
from tests.federation.toy_phase import START, folded, train

NAMES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulled_replies, "POLL", 0.01)


def test_replies_are_folded_in_name_order_whoever_came_first(tmp_path: Path) -> None:
    """All six orders of arrival give the bits of the sum in name order; another sum has others.

    Early replies wait on disk, and none is left there.
    """
    expected = digest(folded(NAMES))
    others = {digest(folded(order)) for order in itertools.permutations(NAMES)}
    assert len(others) > 1, "the sites' changes must tell orders apart"
    digests = set()
    for order in itertools.permutations(range(3)):
        delays = {name: 0.06 * place for name, place in zip(NAMES, order, strict=True)}
        grid = RemoteGrid(delays)
        _, entries = train(grid, NAMES, tmp_path, rounds=1)
        digests.add(entries[-1].digest)
        assert grid.pulled == sorted(NAMES, key=delays.__getitem__)
    assert digests == {expected}
    assert not list(tmp_path.iterdir())


def test_the_mean_is_what_hand_and_head_say(tmp_path: Path) -> None:
    """Equal clips: round r moves every number by the mean of the sites' changes of round r."""
    weights, _ = train(RemoteGrid(dict.fromkeys(NAMES, 0.0)), NAMES, tmp_path, rounds=2)
    for name, array in START.items():
        moves = [
            np.mean([change(site, number, name, array.shape) for site in NAMES], axis=0)
            for number in (1, 2)
        ]
        np.testing.assert_allclose(weights[name], array + sum(moves), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wire", ["fp16", "bf16"])
def test_half_precision_does_not_move_a_model_that_nobody_moved(wire: str, tmp_path: Path) -> None:
    """1/7 and 1/3 are no such numbers: the sites get others, and send just those back.

    A change taken from the float32 model instead of what was sent would be their rounding.
    """
    names = ("still-a", "still-b", "still-c")
    weights, _ = train(RemoteGrid(dict.fromkeys(names, 0.0)), names, tmp_path, wire=wire)
    for name, array in START.items():
        assert not np.array_equal(array, array.astype(np.float16).astype(np.float32))
        np.testing.assert_array_equal(weights[name], array)


def test_half_precision_rounds_what_sites_send_and_nothing_else(tmp_path: Path) -> None:
    """One site moves: its change is that of its fp16 numbers from the fp16 numbers it was sent."""
    weights, _ = train(RemoteGrid({"a": 0.0}), ("a",), tmp_path, rounds=1, wire="fp16")
    for name, array in START.items():
        sent = array.astype(np.float16)
        back = (sent + change("a", 1, name, array.shape)).astype(np.float16)
        moved = back.astype(np.float32) - sent.astype(np.float32)
        np.testing.assert_array_equal(weights[name], array + moved)


def test_bfloat16_is_averaged_in_float32(tmp_path: Path) -> None:
    """The mean of two sites' changes, each from and to bf16 numbers, has all bits of a float32."""
    weights, _ = train(RemoteGrid({"a": 0.0, "b": 0.0}), "ab", tmp_path, rounds=1, wire="bf16")
    for name, array in START.items():
        sent = as_float32(to_bfloat16(array))
        moved = [sent + change(site, 1, name, array.shape) for site in "ab"]
        mean = sum(as_float32(to_bfloat16(each)) - sent for each in moved) / np.float32(2)
        np.testing.assert_allclose(weights[name], array + mean, rtol=1e-6, atol=1e-7)


def test_bfloat16_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    """What rounds to infinity is infinite, too."""
    names = ("a", "huge", "nan")
    grid = RemoteGrid(dict.fromkeys(names, 0.0))
    _, entries = train(grid, names, tmp_path, rounds=1, wire="bf16")
    assert set(entries[0].sites) == {"a"}
    assert entries[0].refused["nan"] == "the update holds values that are not finite."


@pytest.mark.parametrize(("wire", "size"), [("fp32", 4), ("bf16", 2)])
def test_the_journal_counts_the_bytes_of_the_arrays(wire: str, size: int, tmp_path: Path) -> None:
    """17 numbers in two arrays."""
    _, entries = train(RemoteGrid({"a": 0.0}), "a", tmp_path, rounds=1, wire=wire)
    metrics = entries[0].sites["a"].metrics
    assert metrics["bytes_down"] == metrics["bytes_up"] == 17 * size


def test_a_late_site_is_named_and_left_alone_until_it_is_free(tmp_path: Path) -> None:
    """c needs 0.5 s, the deadline is 0.2 s: late in round 1, still busy in round 2."""
    grid = RemoteGrid({"a": 0.0, "b": 0.0, "c": 0.5})
    _, entries = train(grid, NAMES, tmp_path, deadline_seconds=0.2)
    assert set(entries[0].sites) == {"a", "b"}
    assert entries[0].refused == {"c": "no reply within 0.2 s."}
    assert entries[1].refused == {"c": "still busy with an earlier round."}


def test_a_slow_uploader_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a's upload blocks its pull for 1 s; b and c are pulled long before it is through."""
    monkeypatch.setattr(pulled_replies, "COURTESY", 0.05)
    grid = RemoteGrid(dict.fromkeys(NAMES, 0.0), uploads={"a": 1.0})
    _, entries = train(grid, NAMES, tmp_path, rounds=1, deadline_seconds=30)
    assert set(entries[0].sites) == set(NAMES)
    assert grid.pulled[-1] == "a"


def test_a_round_without_a_quorum_ends_the_run_with_the_reasons(tmp_path: Path) -> None:
    grid = RemoteGrid({"a": 0.0, "raise": 0.0, "slow-b": 9.0})
    with pytest.raises(FederationError, match=r"1 usable update, .*min_sites is 2") as no:
        train(grid, ("a", "raise", "slow-b"), tmp_path, deadline_seconds=0.2, min_sites=2)
    assert re.search("raise: the site answered with an error: .*: RuntimeError;", str(no.value))
    assert "slow-b: no reply within 0.2 s" in str(no.value)


def test_the_gate_lets_one_in_until_its_patience_is_over() -> None:
    gate, inside, most = DownloadGate(0.3), [], []

    def visit(seconds: float) -> None:
        with gate.enter():
            inside.append(1)
            most.append(len(inside))
            time.sleep(seconds)
            inside.pop()

    threads = [threading.Thread(target=visit, args=(0.02,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    slow = threading.Thread(target=visit, args=(1.0,))
    slow.start()
    time.sleep(0.05)
    started = time.monotonic()
    visit(0.0)
    assert 0.1 < time.monotonic() - started < 0.8
    slow.join()
