"""What a study leaves: means over seeds, comparisons, one table and one report a protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from echofm_core.evaluation.few_shot import few_shot_lines
from echofm_core.evaluation.levels import level_table
from echofm_core.evaluation.model_names import model_order
from echofm_core.evaluation.over_seeds import OVER_SEEDS, paired_over_seeds, score_over_seeds
from echofm_core.report.run_files import read_run
from echofm_core.report.study_page import write_study_report
from echofm_core.report.study_table import METHOD_COLUMNS, StudyScores
from echofm_core.run_claim import PLAN
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.randomness import stream
from simulations.few_shot import FewShot, shots_file, write_scores
from simulations.methods._api import Method, Piece
from simulations.outcome import identity
from simulations.protocols.assign import RULES
from simulations.study.cell_outcome import (
    cell_notes,
    model_name,
    piece_notes,
    result_of,
    shot_rows,
)
from simulations.study.cells import Cell
from simulations.study.few_shot import Shot
from simulations.study.notes import notes_over_seeds, training_notes


def conclude_study(folder: Path, parts: Sequence[Cell]) -> None:
    """Write the tables over seeds of each protocol, and the report of all.

    Args:
        folder: Of the study.
        parts: All of it; each is concluded.
    """
    by_protocol: dict[Path, list[Cell]] = {}
    for cell in parts:
        by_protocol.setdefault(cell.folder.parent, []).append(cell)
    for place, seeds in by_protocol.items():
        _conclude(place, seeds)
    write_study_report(folder, [place.relative_to(folder).as_posix() for place in by_protocol])


def _conclude(place: Path, seeds: Sequence[Cell]) -> None:
    """The files of one protocol: those of a run folder, of means over seeds."""
    first = seeds[0]
    plan = first.plan
    runs = [read_run(cell.folder) for cell in seeds]
    models = model_order(runs[0].predictions)
    tables = {
        name: [run.predictions[name] for run in runs if name in run.predictions] for name in models
    }
    threshold, unseen = plan.finetune.reduced_ef_threshold, plan.protocol.unseen
    scores = pd.concat(
        [
            # One stream for all models: the same patients are drawn, so rows compare.
            score_over_seeds(
                tables[name],
                plan.evaluation,
                stream(plan.seed, "", 0, "bootstrap"),
                threshold,
                unseen,
            ).assign(model=name)
            for name in models
        ]
        or [pd.DataFrame(columns=["model", *OVER_SEEDS])],
        ignore_index=True,
    )
    paired = paired_over_seeds(tables, plan.evaluation, plan.seed, threshold, unseen)
    each = [run.scores.assign(seed=cell.plan.seed) for run, cell in zip(runs, seeds, strict=True)]
    frames = {
        "scores": scores[["model", *OVER_SEEDS]],
        "paired": paired,
        "seeds": pd.concat(each, ignore_index=True),
        "methods": method_table(first),
        "sites": runs[0].sites,
        "findings": runs[0].findings,
    }
    frames["levels"] = level_table(frames["scores"], plan.evaluation.min_patients, unseen)
    study = StudyScores(
        scores=frames["scores"],
        seeds=frames["seeds"],
        methods=frames["methods"],
        config=plan.evaluation,
        unseen=unseen,
    )
    frames["table"] = study.table()
    for name, frame in frames.items():
        write_whole(place / f"{name}.parquet", frame.to_parquet(index=False))
    write_whole(place / PLAN, plan.to_toml().encode())
    notes = notes_over_seeds({cell.plan.seed: cell_notes(cell) for cell in seeds})
    of_training = training_notes({cell.plan.seed: piece_notes(cell) for cell in seeds})
    if first.shots:
        notes += few_shot_lines(write_scores(_few_shot(seeds), place), plan.evaluation.min_patients)
    else:  # of an earlier session
        shots_file(place).unlink(missing_ok=True)
    summary = {
        **identity(plan),
        "synthetic_sites": RULES[first.protocol].synthetic,
        "origin": "A study on public data, split by site on one machine.",
        "protocol": first.protocol.value,
        "variation": first.variation.words,
        "reference": first.reference,
        "seeds": [cell.plan.seed for cell in seeds],
        "notes": [*notes, *of_training],
        "training_notes": of_training,
    }
    write_whole(place / "summary.json", json.dumps(summary, indent=1).encode())


def _few_shot(seeds: Sequence[Cell]) -> list[tuple[FewShot, pd.DataFrame]]:
    """Scores over seeds of each number of patients; which patients, each seed draws."""
    plan = seeds[0].plan
    each: dict[str, list[tuple[Cell, Shot]]] = {}
    for cell in seeds:
        for shot in cell.shots:
            each.setdefault(shot.name, []).append((cell, shot))
    return [
        (
            pairs[0][1].few,
            score_over_seeds(
                [shot_rows(cell, shot) for cell, shot in pairs],
                plan.evaluation,
                stream(plan.seed, "", 0, "bootstrap"),
                plan.finetune.reduced_ef_threshold,
            ),
        )
        for pairs in each.values()
    ]


def method_table(cell: Cell) -> pd.DataFrame:
    """Columns of :data:`METHOD_COLUMNS`: what each method of a part is, and what it cost."""
    rows = [
        [
            method.name,
            model_name(cell, method.name),
            method.words,
            method.source,
            _megabytes(cell, method, pieces),
            max(sum(piece.plan.rounds.values()) for piece in pieces),
            len(pieces),
        ]
        for method, pieces in cell.methods
    ]
    return pd.DataFrame(rows, columns=list(METHOD_COLUMNS))


def _megabytes(cell: Cell, method: Method, pieces: Sequence[Piece]) -> float:
    """Weights between sites, both ways and both phases, each training once; NaN: data move."""
    if method.moves_data:
        return float("nan")
    each = {one.key(cell.data): one for piece in pieces for one in (piece.start, piece) if one}
    size = sum(int(result_of(cell, piece)["bytes"]) for piece in each.values())
    if method.sends_models:
        size += sum(int(result_of(cell, piece)["model_bytes"]) for piece in pieces)
    return size / 1e6
