"""What a study leaves out where training diverged; trainings are marked as such, none is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import DivergedError
from simulations.methods._api import Piece
from simulations.study.cells import Cell, cell_of
from simulations.study.diverged import without_diverged
from simulations.study.folder import DIVERGED
from tests.simulations.test_few_shot import manifest


def parts(folder: Path, *methods: str, tune: int = 0, table: str = "") -> list[Cell]:
    """Seeds 1 to 3 of one table, with few-shot fine-tuning of the reference at a site not seen."""
    words = {
        "pretrain": {"rounds": 2},
        "study": {"tune": tune},
        "protocol": {"unseen": ["C"]},
        "evaluation": {"few_shot": [0, 2]},
    }
    plan = plan_from_mapping(words, "test")
    prepared = Prepared(manifest=manifest(), findings=Findings(), stores=Path("stores"))
    return [
        cell_of(
            plan.model_copy(update={"seed": seed}),
            folder / table / f"seed-{seed}",
            prepared,
            methods,
        )
        for seed in (1, 2, 3)
    ]


def diverge(cell: Cell, piece: Piece) -> None:
    cell.place(piece).mkdir(parents=True)
    (cell.place(piece) / DIVERGED).touch()


def pieces(cell: Cell, method: str) -> tuple[Piece, ...]:
    return {one.name: own for one, own in cell.methods}[method]


def names(cell: Cell) -> list[str]:
    return [method.name for method, _ in cell.methods]


def test_a_study_that_trains_is_as_it_was(tmp_path: Path) -> None:
    cells = parts(tmp_path, "fedavg")
    assert [len(cell.shots) for cell in cells] == [2, 2, 2]
    assert all(a is b for a, b in zip(without_diverged(cells), cells, strict=True))


def test_a_method_that_diverges_with_one_seed_is_left_out_of_all(tmp_path: Path) -> None:
    """Of its table; in that of another protocol it stays."""
    cells, others = (parts(tmp_path, "fedavg", "fedprox", table=name) for name in ("a", "b"))
    diverge(cells[1], *pieces(cells[1], "fedprox"))
    left = without_diverged([*cells, *others])
    assert [names(cell) for cell in left] == [["fedavg"]] * 3 + [["fedavg", "fedprox"]] * 3
    note = (
        "The method fedprox is left out: training diverged with seed 2. study.tune tries other "
        "settings of it."
    )
    assert [note in cell.notes for cell in left] == [True] * 3 + [False] * 3
    assert [cell.shots for cell in left] == [cell.shots for cell in [*cells, *others]]


def test_without_the_reference_another_rule_is_it_and_its_few_shot_models_go(
    tmp_path: Path,
) -> None:
    """They began with the reference's model; of another's there are none, also with other seeds."""
    cells = parts(tmp_path, "fedavg", "fedprox", tune=2)
    for cell in cells[1:]:
        diverge(cell, *pieces(cell, "fedavg"))
    left = without_diverged(cells)
    assert [cell.reference for cell in left] == ["fedprox"] * 3
    assert not any(cell.shots for cell in left)
    note = "The method fedavg is left out: training diverged with seeds 2 and 3."
    assert all(cell.notes[-1] == note for cell in left)


def test_each_training_of_a_method_that_diverged_is_named(tmp_path: Path) -> None:
    """The mean of some sites' models is no figure of all sites by themselves."""
    cells = parts(tmp_path, "fedavg", "local")
    for number in (0, 1):
        diverge(cells[0], pieces(cells[0], "local")[number])
    diverge(cells[2], pieces(cells[2], "local")[1])
    assert (
        without_diverged(cells)[1]
        .notes[-1]
        .startswith(
            "The method local is left out: training of local:A diverged with seed 1; training of "
            "local:B diverged with seeds 1 and 3."
        )
    )


def test_a_few_shot_model_that_diverges_takes_nothing_else_along(tmp_path: Path) -> None:
    cells = parts(tmp_path, "fedavg")
    diverge(cells[2], cells[2].shots[1].piece)
    left = without_diverged(cells)
    assert [names(cell) for cell in left] == [["fedavg"]] * 3
    assert [[shot.few.shots for shot in cell.shots] for cell in left] == [[0]] * 3
    assert left[0].notes[-1] == (
        "The fine-tuning federated shots:C:2 is left out: it diverged with seed 3."
    )


def test_a_pretraining_that_diverges_leaves_nothing_and_ends_with_a_sentence(
    tmp_path: Path,
) -> None:
    cells = parts(tmp_path, "fedavg", "fedprox")
    (piece,) = pieces(cells[0], "fedavg")
    assert piece.start
    diverge(cells[0], piece.start)
    with pytest.raises(DivergedError, match=r"diverged with every method .*lower finetune"):
        without_diverged(cells)
