"""Parts of a study as they are shown: with the settings chosen, without what diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from echofm_core.report.tuning import TUNING
from echofm_core.runtime.errors import DivergedError
from echofm_core.runtime.text import listed
from simulations.methods._api import Method, Piece, Values
from simulations.study.cells import Cell, shots_at
from simulations.study.few_shot import bases_of
from simulations.study.folder import DIVERGED
from simulations.study.variations import Variation

#: Method -> name of the arm of a training of it -> values that it has in place of the plan's; None
#: where training diverged with all that were tried.
Choices = Mapping[str, Mapping[str, Values | None]]


def chosen(cell: Cell, choices: Choices) -> Cell:
    """A part whose trainings have other values than the plan's; it says so in its notes.

    A method that has a training without values is left out.

    Raises:
        DivergedError: No method is left.
    """
    methods, notes = list[tuple[Method, tuple[Piece, ...]]](), list[str]()
    for method, pieces in cell.methods:
        own, words, found = choices.get(method.name, {}), list[str](), list[Piece]()
        if lost := [name for name, values in own.items() if values is None]:
            which = f" of {listed(lost)}" if len(pieces) > 1 else ""
            notes.append(
                f"The method {method.name} is left out: training{which} diverged with each of the "
                f"{cell.plan.study.tune} settings that were tried."
            )
            continue
        for piece in pieces:
            name = piece.arm.name
            if values := own.get(name, {}):
                every = method.pieces(replace(cell.setting, values=values))
                piece = next(one for one in every if one.arm.name == name)
                where = f"{name}: " if len(pieces) > 1 else ""
                words.append(f"{where}{Variation(values).sentence}")
            found.append(piece)
        methods.append((method, tuple(found)))
        if words:
            notes.append(
                f"{method.name} does not have the plan's values: {'; '.join(words)}, chosen of "
                f"{cell.plan.study.tune} settings by validation patients of sites that train."
            )
    if not methods:
        raise DivergedError(
            f"training diverged with all settings of all methods ({cell.folder.parent / TUNING} "
            "has them); set a lower finetune.learning_rate, or leave out what the plan adds to it."
        )
    found_cell = replace(cell, methods=tuple(methods), notes=(*cell.notes, *notes))
    return replace(found_cell, shots=shots_at(found_cell)[0])


def without_diverged(parts: Sequence[Cell]) -> list[Cell]:
    """The parts without what diverged with any seed of the same table; they say so in their notes.

    A mean over the seeds that trained alone would flatter a method.

    Args:
        parts: Of a study, after all its trainings; one that nothing concerns comes back as it is.

    Raises:
        DivergedError: A table has no method left.
    """
    tables: dict[Path, list[Cell]] = {}
    for cell in parts:
        tables.setdefault(cell.folder.parent, []).append(cell)
    lost = {place: _lost(seeds) for place, seeds in tables.items()}
    return [_left(cell, *lost[cell.folder.parent]) for cell in parts]


def _lost(seeds: Sequence[Cell]) -> tuple[dict[str, str], dict[str, str]]:
    """Methods, and few-shot trainings, of which one diverged with some seed: name -> sentence."""
    methods, shots = dict[str, dict[str, list[str]]](), dict[str, list[str]]()
    advice = "" if seeds[0].plan.study.tune else " study.tune tries other settings of it."
    for cell in seeds:
        seed = str(cell.plan.seed)
        for method, pieces in cell.methods:
            for piece in filter(cell.diverged, pieces):
                which = f" of {piece.arm.name}" if len(pieces) > 1 else ""
                methods.setdefault(method.name, {}).setdefault(which, []).append(seed)
        for shot in cell.shots:
            if cell.diverged(shot.piece):
                shots.setdefault(shot.name, []).append(seed)
    return (
        {
            name: f"The method {name} is left out: "
            + "; ".join(f"training{which} diverged with {_seeds(own)}" for which, own in of.items())
            + f".{advice}"
            for name, of in methods.items()
        },
        {
            name: f"The fine-tuning {name} is left out: it diverged with {_seeds(own)}."
            for name, own in shots.items()
        },
    )


def _seeds(numbers: Sequence[str]) -> str:
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {listed(numbers)}"


def _left(cell: Cell, methods: Mapping[str, str], shots: Mapping[str, str]) -> Cell:
    """A part without some methods and few-shot trainings."""
    if not methods and not shots:
        return cell
    left = tuple(one for one in cell.methods if one[0].name not in methods)
    if not left:
        raise DivergedError(
            f"training diverged with every method ({cell.store or cell.folder}/arms/*/{DIVERGED} "
            "says of each how); set a lower finetune.learning_rate, or pretrain.learning_rate, or "
            "let study.tune try other settings."
        )
    found = replace(cell, methods=left, notes=(*cell.notes, *methods.values()))
    bases = bases_of([(method.name, pieces) for method, pieces in left], found.reference)
    kept = [shot for shot in cell.shots if bases.get(shot.few.base.name) == shot.base]
    gone = [words for name, words in shots.items() if name in {shot.name for shot in kept}]
    return replace(
        found,
        shots=tuple(shot for shot in kept if shot.name not in shots),
        notes=(*found.notes, *gone),
    )
