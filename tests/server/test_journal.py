from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import Phase, Weights
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import ResumeError
from server.journal import Entry, Journal, SiteEntry

PLAN = "a" * 64


def weights(value: float) -> Weights:
    return {"encoder.w": np.full(3, value, np.float32)}


def entry(number: int, phase: Phase = Phase.PRETRAIN, plan: str = PLAN) -> Entry:
    return Entry(
        phase=phase,
        round=number,
        plan_hash=plan,
        sites={"a": SiteEntry(counts={"encoder": 3}, metrics={"loss": 0.5})},
        refused={"b": "no reply within 2 s."},
        digest=digest(weights(number)),
        seconds=1.5,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Two rounds of pre-training."""
    made = Journal(tmp_path, PLAN)
    made.open(resume=False)
    for number in (1, 2):
        made.record(entry(number), weights(number))
    return made


def test_what_is_written_is_read(journal: Journal) -> None:
    assert journal.entries() == [entry(1), entry(2)]
    number, kept = journal.last(Phase.PRETRAIN, 5)
    assert number == 2
    np.testing.assert_array_equal(kept["encoder.w"], [2, 2, 2])
    assert journal.last(Phase.FINETUNE, 5) == (0, {})


def test_a_fresh_run_does_not_touch_a_folder_with_rounds(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="already holds 2 rounds; go on with --resume"):
        Journal(tmp_path, PLAN).open(resume=False)


def test_another_plan_cannot_go_on(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match="hash aaaaaaaaaaaa, this plan has bbbbbbbbbbbb"):
        Journal(tmp_path, "b" * 64).open(resume=True)


def test_an_empty_folder_may_be_resumed(tmp_path: Path) -> None:
    """Killed before the first round ended: there is nothing to go on from, and no harm."""
    made = Journal(tmp_path, PLAN)
    made.open(resume=True)
    assert made.last(Phase.PRETRAIN, 3) == (0, {})


@pytest.mark.parametrize("content", ["", "{", '{"phase": "pretrain"}', "[]", '{"sites": 3}'])
def test_a_torn_entry_is_as_if_the_round_had_not_been(
    journal: Journal, tmp_path: Path, content: str
) -> None:
    (tmp_path / "journal" / "pretrain-0002.json").write_text(content)
    journal.open(resume=True)
    assert journal.last(Phase.PRETRAIN, 5)[0] == 1


@pytest.mark.parametrize("damage", ["missing", "torn", "swapped"])
def test_a_round_counts_only_with_the_checkpoint_that_it_names(
    journal: Journal, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "checkpoints" / "pretrain-0002.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        path.write_bytes((tmp_path / "checkpoints" / "pretrain-0001.safetensors").read_bytes())
    number, kept = journal.last(Phase.PRETRAIN, 5)
    assert number == 1
    np.testing.assert_array_equal(kept["encoder.w"], [1, 1, 1])


def test_a_checkpoint_without_an_entry_is_ignored(journal: Journal, tmp_path: Path) -> None:
    """Killed between the two writes."""
    (tmp_path / "journal" / "pretrain-0002.json").unlink()
    assert journal.last(Phase.PRETRAIN, 5)[0] == 1


def test_rounds_that_will_be_done_again_are_forgotten(journal: Journal) -> None:
    journal.record(entry(1, Phase.FINETUNE), weights(1))
    journal.forget_after(Phase.PRETRAIN, 1)
    assert [(e.phase, e.round) for e in journal.entries()] == [("pretrain", 1), ("finetune", 1)]


def test_two_checkpoints_a_phase_are_kept(journal: Journal, tmp_path: Path) -> None:
    for number in (3, 4):
        journal.record(entry(number), weights(number))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["pretrain-0003.safetensors", "pretrain-0004.safetensors"]
    assert len(journal.entries()) == 4


def remembered(value: float) -> list[tuple[str, Weights]]:
    """What a rule with two parts remembers."""
    return [("first-moment", weights(value)), ("second-moment", weights(-value))]


@pytest.fixture
def stateful(tmp_path: Path) -> Journal:
    """Three rounds of pre-training whose rule remembers something."""
    made = Journal(tmp_path, PLAN)
    made.open(resume=False)
    for number in (1, 2, 3):
        made.record(entry(number), weights(number), iter(remembered(number)))
    return made


def test_what_a_rule_remembers_is_kept_with_each_checkpoint(
    stateful: Journal, tmp_path: Path
) -> None:
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    parts = ("first-moment.safetensors", "safetensors", "second-moment.safetensors")
    assert kept == [f"pretrain-000{number}.{part}" for number in (2, 3) for part in parts]
    assert stateful.last(Phase.PRETRAIN, 5)[0] == 3
    found = dict(stateful.state(Phase.PRETRAIN, 3))
    assert found.keys() == dict(remembered(3)).keys()
    np.testing.assert_array_equal(found["second-moment"]["encoder.w"], [-3, -3, -3])
    assert not list(stateful.state(Phase.FINETUNE, 1))


@pytest.mark.parametrize("damage", ["missing", "torn", "of another round"])
def test_a_round_counts_only_with_all_that_its_rule_remembers(
    stateful: Journal, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "checkpoints" / "pretrain-0003.second-moment.safetensors"
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(path.read_bytes()[:-4])
    else:
        older = tmp_path / "checkpoints" / "pretrain-0002.second-moment.safetensors"
        path.write_bytes(older.read_bytes())
    assert stateful.last(Phase.PRETRAIN, 5)[0] == 2


def hidden(folder: Path) -> list[str]:
    """Names of files that are being written, or were when somebody was killed."""
    return sorted(path.name for path in folder.rglob(".*"))


def test_nothing_hidden_is_left(journal: Journal, tmp_path: Path) -> None:
    assert not hidden(tmp_path)


def test_writes_that_a_kill_cut_short_are_cleared(journal: Journal, tmp_path: Path) -> None:
    for name in (
        "journal/.pretrain-0003.json.77",
        "checkpoints/.pretrain-0003.safetensors.77.part",
    ):
        (tmp_path / name).write_bytes(b"{")
    assert len(hidden(tmp_path)) == 2
    journal.open(resume=True)
    assert not hidden(tmp_path)
