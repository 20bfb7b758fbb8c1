"""What a run between hospitals ends with: the simulation's files, as far as they may leave a site.

Scores come with intervals that each site computed over its own patients. Nothing here is made of
single patients, so there is no interval over all sites together, and no picture of patients.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core.contract import Scored, SiteResult
from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.models.lora import untrained_notes
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import preflight_notes
from echofm_core.privacy.config import PrivacyKind, open_rounds, spent
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many
from echofm_core.tasks import Task
from echofm_core.training.label_share import label_share_notes
from echofm_core.training.personal import personal_notes
from server.ending import FederationResult
from server.wire import reasons

#: Part of the report -> why a run between hospitals has none.
ABSENT = {
    "predictions": "predictions of single patients stay in the state folder of each site, so there "
    "is no scatter, no ROC curve, nothing by stratum and no interval over all sites together",
    "findings": "which files a site could not use is known there alone; their number is in the "
    "table of sites",
    **dict.fromkeys(("contact_sheets", "reconstruction"), "frames stay at the sites"),
}


def conclude(plan: Plan, folder: Path, result: FederationResult, seconds: float) -> Path:
    """Write scores, counts, summary, card and report into a finished run's folder.

    Args:
        folder: Run folder; weights and ``metrics.parquet`` are there.
        seconds: How long the run took, over all its sessions.

    Returns:
        Path of ``report.html``.

    Raises:
        FederationError: Sites were to be tested, and none could be; the files are there.
    """
    from echofm_core.evaluation.levels import level_table
    from echofm_core.report.card import write_card
    from echofm_core.report.page import write_report
    from echofm_core.report.run_files import read_run

    scores = score_table(result.site_results)
    tables = {
        "levels": level_table(scores, plan.evaluation.min_patients),
        "scores": scores,
        "paired": paired_table(result.site_results, plan.evaluation),
        "sites": count_table(result, plan.finetune.tasks),
    }
    summary: dict[str, Any] = {
        "name": plan.name,
        "plan_hash": plan.digest(),
        "digest": result.digest,
        "seconds": seconds,
        "origin": f"Trained between {many(len(result.sites), 'site')}; no recording left its site.",
        "synthetic": False,
        "versions": {},
        "notes": _notes(plan, result),
        "training_notes": list(result.warnings),
        "privacy": spent(result.metrics, plan.privacy.delta),
        "absent": ABSENT,
    }
    for name, table in tables.items():
        write_whole(folder / f"{name}.parquet", table.to_parquet(index=False))
    write_whole(folder / "summary.json", json.dumps(summary, indent=1).encode())
    write_card(read_run(folder), Scored.MODEL.value)
    report = write_report(folder)
    if result.failed and not result.site_results:
        raise FederationError(
            "the model was trained, and could not be tested at any of "
            f"{many(len(result.failed), 'site')} ({reasons(result.failed)}); mend the sites and go "
            "on with --resume."
        )
    return report


def score_table(results: tuple[SiteResult, ...]) -> pd.DataFrame:
    """Scores of the model and of the floor at each site.

    Columns model, site, task, metric, value, low, high, patients.
    """
    rows = _rows(results).drop(columns="p")
    return rows[rows["model"] != Scored.DIFFERENCE.value].reset_index(drop=True)


def paired_table(results: tuple[SiteResult, ...], config: EvaluationConfig) -> pd.DataFrame:
    """The model against the floor at each site, as the sites computed it; Holm's correction here.

    Columns of :data:`echofm_core.evaluation.paired.PAIRED_COLUMNS`.
    """
    from echofm_core.evaluation.paired import judged

    rows = _rows(results)
    rows = rows[rows["model"] == Scored.DIFFERENCE.value]
    rows = rows.assign(model=Scored.MODEL.value, rival=Scored.FLOOR.value)
    return judged(rows, config)


def _rows(results: tuple[SiteResult, ...]) -> pd.DataFrame:
    rows = [
        (model, result.site, task, metric, *astuple(score), result.patients[task])
        for result in results
        for name, score in result.scores.items()
        for model, task, metric in [name.split("/")]
    ]
    columns = ["model", "site", "task", "metric", "value", "low", "high", "p", "patients"]
    return pd.DataFrame(rows, columns=columns)


def count_table(result: FederationResult, tasks: Sequence[Task]) -> pd.DataFrame:
    """Clips, patients and labels by site and split, as far as the sites reported them.

    Test patients are those of the task that has most of them.
    """
    tested = {found.site: max(found.patients.values()) for found in result.site_results}
    rows: list[dict[str, object]] = []
    for site, about in result.sites.items():
        train = {"split": "train", "clips": about.train_clips, "patients": about.train_patients}
        test = {"split": "test", "clips": None, "patients": tested.get(site)}
        for counts, labels in ((train, about.labels), (test, about.test_labels)):
            reported = {task.value: labels.get(task.value, 0) for task in tasks}
            rows.append({"site": site, "dataset": "not reported", **counts, **reported})
        rows[-2]["unusable_files"] = about.quarantined
    whole = dict.fromkeys(("clips", "patients", "unusable_files"), "Int64")
    return pd.DataFrame(rows).astype(whole)


def _notes(plan: Plan, result: FederationResult) -> list[str]:
    """What a reader of the numbers must know; that labels are missing is in the verdict."""
    notes = [
        "The intervals were computed at the sites, each over its own test patients; no site's "
        "interval can be checked elsewhere.",
        *preflight_notes(plan),
        *untrained_notes(plan),
        *label_share_notes(plan),
        *personal_notes(plan.personal),
    ]
    if plan.privacy.kind is not PrivacyKind.NONE and plan.finetune.rounds:
        notes.append(
            "No floor without a network: sites that train privately send none, as it is fitted "
            "without noise."
        )
    notes += open_rounds(result.metrics)
    notes += [f"{site} could not be tested: {why}" for site, why in result.failed.items()]
    return [*notes, *result.notes, *result.warnings]
