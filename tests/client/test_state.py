from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.state import Own, SiteState
from echofm_core.runtime.errors import FederationError


def decoder(value: float) -> dict[str, np.ndarray]:
    return {"decoder.w": np.full(2, value, np.float32)}


def test_a_round_starts_from_the_decoder_of_an_earlier_one(tmp_path: Path) -> None:
    state = SiteState(tmp_path, "run")
    assert state.own(Own.DECODER, 1) == {}
    state.keep_own(Own.DECODER, decoder(1), 1)
    state.keep_own(Own.DECODER, decoder(2), 2)
    np.testing.assert_array_equal(state.own(Own.DECODER, 3)["decoder.w"], [2, 2])


def test_a_round_done_again_does_not_see_its_own_first_try(tmp_path: Path) -> None:
    state = SiteState(tmp_path, "run")
    state.keep_own(Own.DECODER, decoder(1), 1)
    state.keep_own(Own.DECODER, decoder(2), 2)
    np.testing.assert_array_equal(state.own(Own.DECODER, 2)["decoder.w"], [1, 1])
    assert state.own(Own.DECODER, 1) == {}


def test_rounds_may_be_missed(tmp_path: Path) -> None:
    """A site that was late in rounds 2 and 3 goes on from round 1."""
    state = SiteState(tmp_path, "run")
    state.keep_own(Own.DECODER, decoder(1), 1)
    np.testing.assert_array_equal(state.own(Own.DECODER, 4)["decoder.w"], [1, 1])
    state.keep_own(Own.DECODER, decoder(4), 4)
    np.testing.assert_array_equal(state.own(Own.DECODER, 4)["decoder.w"], [1, 1])


def test_only_what_a_repeat_needs_is_kept(tmp_path: Path) -> None:
    state = SiteState(tmp_path, "run")
    for number in range(1, 6):
        state.keep_own(Own.DECODER, decoder(number), number)
    names = sorted(path.name for path in (state.folder / "decoder").iterdir())
    assert names == [f"round-0000{number}.safetensors" for number in (3, 4, 5)]


def test_a_stage_does_not_start_from_the_decoder_of_the_one_before(tmp_path: Path) -> None:
    """Rounds 1 and 2 predicted pixels; from round 3 on features are predicted."""
    state = SiteState(tmp_path, "run")
    state.keep_own(Own.DECODER, decoder(1), 1)
    state.keep_own(Own.DECODER, decoder(2), 2)
    assert state.own(Own.DECODER, 3, first=3) == {}
    np.testing.assert_array_equal(state.own(Own.DECODER, 3)["decoder.w"], [2, 2])
    state.keep_own(Own.DECODER, decoder(3), 3, first=3)
    np.testing.assert_array_equal(state.own(Own.DECODER, 4, first=3)["decoder.w"], [3, 3])
    assert [path.name for path in (state.folder / "decoder").iterdir()] == [
        "round-00003.safetensors"
    ]


def test_leftovers_of_a_longer_run_are_cleared(tmp_path: Path) -> None:
    state = SiteState(tmp_path, "run")
    state.keep_own(Own.DECODER, decoder(9), 9)
    state.keep_own(Own.DECODER, decoder(1), 1)
    assert state.own(Own.DECODER, 8)["decoder.w"][0] == 1


@pytest.mark.parametrize("run", ["", "..", "../other", "/etc", "a/b", "a\\b", ".hidden", "a" * 129])
def test_a_run_name_cannot_lead_out_of_the_state_folder(tmp_path: Path, run: str) -> None:
    with pytest.raises(FederationError, match="not a plain name"):
        SiteState(tmp_path, run)
    assert not list(tmp_path.iterdir())
