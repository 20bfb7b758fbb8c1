"""The items of both checklists, and how an answer is put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.report.checklist.claim import CLAIM
from echofm_core.report.checklist.facts import Facts, facts_of
from echofm_core.report.checklist.item import BLANK, Checklist, Item
from echofm_core.report.checklist.tripod import TRIPOD_AI
from echofm_core.report.checklist.write import CHECKLISTS, _rows, checklist_grids
from echofm_core.report.run_files import read_run

#: Of TRIPOD+AI, as its table numbers them: 27 items, 52 with their parts.
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc",
         23: "ab", 27: "abc"}  # fmt: skip


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts_of(read_run(tmp_path_factory.mktemp("nothing")), None, None)


def test_items_have_the_numbers_of_the_checklists() -> None:
    assert [item.number for item in CLAIM.items] == [str(n) for n in range(1, 45)]
    expected = [
        f"{number}{part}" for number in range(1, 28) for part in PARTS.get(number, "") or [""]
    ]
    assert [item.number for item in TRIPOD_AI.items] == expected
    assert len(expected) == 52


@pytest.mark.parametrize("checklist", CHECKLISTS, ids=lambda item: item.name)
def test_an_empty_folder_answers_nothing(checklist: Checklist, nothing: Facts) -> None:
    """The defaults of a plan that is not there are no facts of a run."""
    answered = {item.number for item in checklist.items if item.answer(nothing) != BLANK}
    assert answered == set()


@pytest.mark.parametrize(
    ("checklist", "numbers"),
    [
        (CLAIM, {2, 3, 4, 5, 11, 15, 16, 17, 18, 31, 34, 41, 42, 44}),
        (
            TRIPOD_AI,
            {"2", "3a", "3b", "3c", "5b", "6c", "8b", "8c", "9c", "14", "17", "18a", "18b", "18c",
             "18d", "18e", "19", "25", "27a", "27b", "27c"},
        ),
    ],
    ids=["CLAIM", "TRIPOD+AI"],
)  # fmt: skip
def test_what_no_run_records_is_for_the_authors(checklist: Checklist, numbers: set[object]) -> None:
    """Abstract, ethics, funding, annotators and the like: no file of a run tells of them."""
    assert {item.number for item in checklist.items if not item.answers} == set(map(str, numbers))


def test_an_answer_joins_what_there_is_and_names_the_rest(nothing: Facts) -> None:
    answers = (lambda _: "One.", lambda _: "", lambda _: "Two.")
    assert Item("1", "x", answers).answer(nothing) == "One. Two."
    assert Item("1", "x", answers, "three").answer(nothing) == "One. Two. Authors: three."
    assert Item("1", "x", answers[1:2], "three").answer(nothing) == BLANK


def test_what_an_earlier_item_has_said_is_referred_to(nothing: Facts) -> None:
    """The second item has an answer of its own, the third none; an item that is blank is none to
    refer to."""
    one, two, empty = (lambda _: "One."), (lambda _: "Two."), (lambda _: "")
    items = (Item("1", "x", (empty,)), Item("2", "x", (one, empty)), Item("3a", "x", (two, one)),
             Item("3b", "x", (one, two), "more"), Item("4", "x", (empty,)))  # fmt: skip
    rows = _rows(Checklist("x", "y", items), nothing)
    assert [answer for *_, answer in rows] == [
        BLANK, "One.", "Two. See also item 2.", "See items 2 and 3a. Authors: more.", BLANK,
    ]  # fmt: skip


def test_a_table_has_each_item_and_counts_the_answered(tmp_path: Path, nothing: Facts) -> None:
    grids = checklist_grids(nothing)
    assert [title.partition(":")[0] for title in grids] == ["CLAIM 2024", "TRIPOD+AI"]
    assert list(grids) == [
        "CLAIM 2024: 0 of 44 items with an answer",
        "TRIPOD+AI: 0 of 52 items with an answer",
    ]
