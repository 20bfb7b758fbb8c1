"""What stands beside a trained model: counts, a summary, and the card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core import __version__
from echofm_core.contract import Phase
from echofm_core.data.census import census
from echofm_core.data.manifest import Split
from echofm_core.evaluation.card import write_card
from echofm_core.institution.data import InstitutionData
from echofm_core.institution.run_folder import ALONE
from echofm_core.institution.testing import test_model
from echofm_core.institution.unseen import Overlap
from echofm_core.models.saved import WEIGHTS, SavedModel, load_model
from echofm_core.models.weights import load_metadata
from echofm_core.phantom.patients import is_phantom
from echofm_core.plan.document import Plan
from echofm_core.report import write_report
from echofm_core.report.run_files import read_run
from echofm_core.report.words import words_of
from echofm_core.runtime.files import write_whole


def conclude(plan: Plan, data: InstitutionData, phase: Phase, run: Path) -> pd.DataFrame:
    """Test a finished run's model where there are test patients, and write what belongs to it.

    Returns:
        Scores of it and of the floor; empty after pre-training, or without test patients.
    """
    scores = pd.DataFrame(columns=["model", "site", "task", "metric", "value", "low", "high"])
    clips = data.windows(Split.TEST, plan, phase)
    if phase is Phase.FINETUNE and len(clips):
        taught = data.windows(Split.TRAIN, plan, phase)
        scores = test_model(load_model(run), clips, ALONE, run, taught=taught)
    counts = census(data.manifest, plan)
    write_whole(run / "sites.parquet", counts.to_parquet(index=False))
    summary: dict[str, Any] = {
        "name": plan.name,
        "phase": phase.value,
        "plan_hash": plan.digest(),
        "digest": load_metadata(run / "model" / WEIGHTS)["digest"],
        "origin": "Trained on the data of one institution.",
        "synthetic": any(is_phantom(Path(root)) for root in plan.machine.roots),
        "version": __version__,
        "notes": [],
        "privacy": [],
    }
    write_whole(run / "summary.json", json.dumps(summary, indent=1).encode())
    words = words_of(read_run(run)).sentences
    write_card(run, plan, counts, scores[scores["model"] == ALONE], summary, [], words)
    write_report(run)
    return scores


def write_evaluation(out: Path, saved: SavedModel, overlap: Overlap) -> None:
    """Write ``summary.json`` beside the scores of a model: which it is, and whom it had seen."""
    summary = {
        "name": saved.plan.name,
        "plan_hash": saved.plan.digest(),
        "digest": saved.digest,
        "version": __version__,
        "patients": overlap.patients,
        "patients_trained_on": overlap.seen,
        "notes": [overlap.note()],
    }
    write_whole(out / "summary.json", json.dumps(summary, indent=1).encode())
