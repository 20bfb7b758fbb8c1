"""What is made of the answers of Flower's command line tools."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.runtime.errors import FederationError
from server import flower
from server.kit import Kit


@pytest.mark.parametrize("count", [0, 2])
def test_a_run_that_is_not_listed_once_is_a_sentence(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"runs": [{"run-id": "7", "status": "running"}] * count}
    monkeypatch.setattr(flower, "ask", lambda *words: answer)
    with pytest.raises(FederationError, match=f"lists {count} runs with the number 7, not one"):
        flower.run_status(Kit(tmp_path), "7")


def test_a_listed_run_has_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"runs": [{"run-id": "7", "status": "finished:failed", "status-details": "why"}]}
    monkeypatch.setattr(flower, "ask", lambda *words: answer)
    assert flower.run_status(Kit(tmp_path), "7") == ("finished:failed", "why")


def test_the_first_error_of_a_log_is_found_before_what_came_of_it(tmp_path: Path) -> None:
    """From the run's own part of the log on; a run before had errors of its own."""
    log = tmp_path / "superexec.log"
    old = "ValueError: of a run before\n"
    log.write_text(
        f"{old}INFO: starts\nTraceback (most recent call last):\n  File x\n"
        "ModuleNotFoundError: No module named 'server.app'\nRuntimeError: later\nINFO: bye\n"
    )
    found = flower.first_error(log, len(old))
    assert found == "ModuleNotFoundError: No module named 'server.app'"
    assert flower.first_error(tmp_path / "none") == ""
