"""What a part of a study leaves, when its trainings are done: a run folder of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core.data.splits import split_digest
from echofm_core.evaluation.few_shot import few_shot_lines
from echofm_core.evaluation.model_names import FEDERATED, FLOOR
from echofm_core.models.lora import untrained_notes
from echofm_core.plan.federation import median_notes
from echofm_core.plan.preflight import preflight_notes
from echofm_core.privacy.config import open_rounds, spent
from echofm_core.report.page import write_report
from echofm_core.report.run_files import read_run
from echofm_core.report.run_scores import score_models
from echofm_core.run_claim import PLAN
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import listed
from echofm_core.training.label_share import label_share_notes
from echofm_core.training.personal import personal_notes
from simulations.few_shot import scored, shots_file, write_scores
from simulations.methods._api import Piece
from simulations.outcome import identity, write_floor
from simulations.placement import lent_notes, placement_notes
from simulations.prepare import mirrored_notes, trained_on
from simulations.protocols.assign import RULES
from simulations.study.cells import Cell
from simulations.study.few_shot import Shot
from simulations.study.folder import RESULT
from simulations.study.notes import training_notes
from simulations.study.work import PREDICTIONS

#: In the folder of a part: the hash of the sites and splits that its floor is of.
FLOOR_OF = f"{FLOOR}.sha256"
_NO_PICTURES = "a study draws no pictures of its data; a run of its plan alone does"


def conclude_cell(cell: Cell) -> None:
    """Write predictions by model, scores, comparisons, summary and report of one part.

    The method that others are compared with stands there as ``federated``.
    """
    run, plan = cell.folder, cell.plan
    write_whole(run / PLAN, plan.to_toml().encode())
    _write_predictions(cell)
    write_floor_once(cell)
    metrics = _metrics(cell)
    write_whole(run / "metrics.parquet", metrics.to_parquet(index=False))
    score_models(read_run(run).predictions, plan, run)
    notes, of_training = cell_notes(cell), training_notes({plan.seed: piece_notes(cell)})
    if cell.shots:
        scores = [(shot.few, scored(shot.few, shot_rows(cell, shot), plan)) for shot in cell.shots]
        notes += few_shot_lines(write_scores(scores, run), plan.evaluation.min_patients)
    else:  # of an earlier session of the study
        shots_file(run).unlink(missing_ok=True)
    own = _reference_piece(cell)
    federated = metrics[metrics["arm"] == FEDERATED]
    summary = {
        **identity(plan),
        "digest": result_of(cell, own)["digest"] if own else "",
        "split_sha256": split_digest(cell.prepared.manifest),
        "split_seed": plan.seed if cell.split_seed is None else cell.split_seed,
        "reference": cell.reference,
        "synthetic_sites": RULES[cell.protocol].synthetic,
        "origin": "Part of a study on public data, split by site on one machine.",
        "notes": [*notes, *of_training, *open_rounds(federated)],
        "training_notes": of_training,
        "privacy": spent(federated, plan.privacy.delta),
        "absent": dict.fromkeys(("contact_sheets", "reconstruction"), _NO_PICTURES),
    }
    write_whole(run / "summary.json", json.dumps(summary, indent=1).encode())
    write_report(run)


def cell_notes(cell: Cell) -> list[str]:
    """What a reader of the numbers must know, each once, but for how trainings went."""
    plan, prepared = cell.plan, cell.prepared
    notes = [*preflight_notes(plan), RULES[cell.protocol].caveat]
    notes += mirrored_notes(prepared, plan.data)
    notes += [*placement_notes(prepared.manifest, plan), *lent_notes(plan), *plan_notes(cell)]
    if cell.reference:
        notes.append(f"The model called federated is that of {cell.reference}.")
    notes += cell.notes
    return list(dict.fromkeys(notes))


def plan_notes(cell: Cell) -> list[str]:
    """What a plan and its methods make of labels, adapters, a site's own models, and few sites."""
    plan, methods = cell.plan, dict[str, list[str]]()
    for method, pieces in cell.methods:
        for piece in pieces:
            own = piece.plan
            tuned = plan.model_copy(update={"finetune": own.finetune})
            of_rule = median_notes(own.federation, piece.arm.trainers)
            for note in (*untrained_notes(tuned), *personal_notes(own.personal), *of_rule):
                methods.setdefault(note, []).append(method.name)
    return [
        *label_share_notes(plan, trained_on(cell.prepared.manifest, plan)),
        *(f"{listed(dict.fromkeys(names))}: {note}" for note, names in methods.items()),
    ]


def piece_notes(cell: Cell) -> dict[str, list[str]]:
    """Name of each training -> how it went, in sentences."""
    found: dict[str, list[str]] = {}
    for piece in cell.pieces().values():
        found.setdefault(piece.arm.name, []).extend(result_of(cell, piece)["notes"])
    return found


def result_of(cell: Cell, piece: Piece) -> dict[str, Any]:
    """What a finished training ended with."""
    return dict(json.loads((cell.place(piece) / RESULT).read_text(encoding="utf-8")))


def shot_rows(cell: Cell, shot: Shot) -> pd.DataFrame:
    """Predictions of a model on a few patients, at their site."""
    rows = _predictions(cell.place(shot.piece))
    return rows[rows["site"] == shot.few.site]


def model_name(cell: Cell, model: str) -> str:
    """A method's model as the files of a part call it."""
    return FEDERATED if model == cell.reference else model


def _write_predictions(cell: Cell) -> None:
    """One file a model; those of methods that the study no longer has go."""
    folder = cell.folder / "predictions"
    tables: dict[str, pd.DataFrame] = {}
    for method, pieces in cell.methods:
        found = {piece.arm.name: _predictions(cell.place(piece)) for piece in pieces}
        for model, rows in method.models(_tested(found)).items():
            tables[model_name(cell, model)] = rows
    files = {f"{model.replace(':', '-')}.parquet": model for model in tables}
    for path in folder.glob("*.parquet"):
        if path.name not in {*files, f"{FLOOR}.parquet"}:
            path.unlink()
    for file, model in files.items():
        table = tables[model].assign(model=model)
        write_whole(folder / file, table.to_parquet(index=False))


def write_floor_once(cell: Cell) -> None:
    """The floor without a network, which no method changes; another where sites or splits do."""
    floor = cell.folder / "predictions" / f"{FLOOR}.parquet"
    kept = cell.folder / FLOOR_OF
    if floor.exists() and kept.exists() and kept.read_text(encoding="ascii") == cell.data:
        return
    floor.unlink(missing_ok=True)
    write_floor(cell.plan, cell.folder, cell.prepared)
    write_whole(kept, cell.data.encode())


def _predictions(place: Path) -> pd.DataFrame:
    return pd.read_parquet(place / PREDICTIONS).drop(columns="model", errors="ignore")


def _tested(found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Those that were tested anywhere; all of them where none was."""
    return {name: rows for name, rows in found.items() if len(rows)} or dict(found)


def _metrics(cell: Cell) -> pd.DataFrame:
    """Rounds of all trainings; those of the method that others are compared with as its own."""
    own = _reference_piece(cell)
    keys = {one.key(cell.data) for one in (own, own.start) if one} if own else set[str]()
    parts = [
        pd.read_parquet(cell.place(piece) / "metrics.parquet").assign(
            arm=FEDERATED if key in keys else piece.arm.name
        )
        for key, piece in cell.pieces().items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"arm": "string"})


def _reference_piece(cell: Cell) -> Piece | None:
    """The training of the method that others are compared with."""
    for method, pieces in cell.methods:
        if method.name == cell.reference:
            return pieces[0]
    return None
