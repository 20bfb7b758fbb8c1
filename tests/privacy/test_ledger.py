from dataclasses import replace
from pathlib import Path

import pytest

from echofm_core.privacy.accounting import Steps, epsilon
from echofm_core.privacy.config import Budget
from echofm_core.privacy.ledger import FILE, SYSTEM, Entry, Ledger
from echofm_core.runtime.errors import PrivacyError

ENTRY = Entry(phase="pretrain", round=1, noise=1.0, rate=0.2, steps=10, randomness=SYSTEM)
DELTA = 1e-5


def test_entries_outlive_the_process_and_add_up(tmp_path: Path) -> None:
    first = Ledger(tmp_path).spend(ENTRY, DELTA, None)
    assert first == epsilon(1.0, [Steps(0.2, 10)], DELTA)
    again = Ledger(tmp_path)
    assert again.entries == [ENTRY]
    assert again.epsilon(DELTA) == first
    second = again.spend(replace(ENTRY, round=2), DELTA, None)
    assert second == epsilon(1.0, [Steps(0.2, 20)], DELTA)


def test_a_spent_budget_stops_and_stays_spent(tmp_path: Path) -> None:
    """The budget holds two rounds and not three, whoever opens the ledger."""
    budget = epsilon(1.0, [Steps(0.2, 25)], DELTA)
    for round_ in (1, 2):
        Ledger(tmp_path).spend(replace(ENTRY, round=round_), DELTA, budget)
    for _ in range(2):
        with pytest.raises(PrivacyError, match="budget is spent: pretrain round 3"):
            Ledger(tmp_path).spend(replace(ENTRY, round=3), DELTA, budget)
    assert len(Ledger(tmp_path).entries) == 2


def test_a_round_done_again_counts_again(tmp_path: Path) -> None:
    once = Ledger(tmp_path).spend(ENTRY, DELTA, None)
    assert Ledger(tmp_path).spend(ENTRY, DELTA, None) > once


def test_the_same_result_told_twice_counts_once(tmp_path: Path) -> None:
    """Repeatable noise and identical inputs; other inputs for the same round count."""
    repeatable = replace(ENTRY, randomness="abc")
    once = Ledger(tmp_path).spend(repeatable, DELTA, None)
    assert Ledger(tmp_path).spend(repeatable, DELTA, once) == once
    assert Ledger(tmp_path).spend(replace(repeatable, randomness="def"), DELTA, None) > once


@pytest.mark.parametrize("text", ["{}", "[]", '{"before": "", "phase": "x"}', "\x00", "{"])
def test_a_damaged_ledger_stops_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text + "\n")
    with pytest.raises(PrivacyError, match="unknown"):
        Ledger(tmp_path)


def test_a_changed_line_stops_everything(tmp_path: Path) -> None:
    """More noise than there was would be less spent."""
    for round_ in (1, 2):
        Ledger(tmp_path).spend(replace(ENTRY, round=round_), DELTA, None)
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace('"noise": 1.0', '"noise": 9.0', 1))
    with pytest.raises(PrivacyError, match="line 2 does not follow"):
        Ledger(tmp_path).spend(replace(ENTRY, round=3), DELTA, None)


def test_what_an_earlier_version_wrote_is_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "old-run").mkdir()
    (tmp_path / "old-run" / "privacy-ledger.json").write_text("{}")
    with pytest.raises(PrivacyError, match="1 privacy ledger of an earlier version"):
        Ledger(tmp_path)


def test_runs_have_budgets_of_their_own_and_the_hospital_one_for_all(tmp_path: Path) -> None:
    """One step is of epsilon e1, two of e2: two runs may take one each below e2, no third."""
    one = epsilon(1.0, [Steps(0.2, 10)], DELTA)
    two = epsilon(1.0, [Steps(0.2, 20)], DELTA)
    own = Budget(two, DELTA)
    for run in ("a", "b"):
        assert Ledger(tmp_path).spend(replace(ENTRY, run=run), DELTA, one, own) == one
    assert Ledger(tmp_path).epsilon(DELTA) == two
    with pytest.raises(PrivacyError, match="plan allows"):
        Ledger(tmp_path).spend(replace(ENTRY, run="a"), DELTA, one)
    with pytest.raises(PrivacyError, match="over all its runs"):
        Ledger(tmp_path).spend(replace(ENTRY, run="c"), DELTA, one, own)
    assert list(Ledger(tmp_path).runs()) == ["a", "b"]


def test_two_processes_cannot_spend_the_same_budget(tmp_path: Path) -> None:
    """Both have read the ledger before either writes; the second reads it again."""
    budget = epsilon(1.0, [Steps(0.2, 10)], DELTA)
    first, second = Ledger(tmp_path), Ledger(tmp_path)
    first.spend(ENTRY, DELTA, budget)
    with pytest.raises(PrivacyError, match="budget is spent"):
        second.spend(replace(ENTRY, round=2), DELTA, budget)
