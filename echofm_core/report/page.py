"""The self-contained HTML report of a run: its files in words and pictures for the template."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from echofm_core.evaluation.comparisons import BEST_SITE, RIVALS, Comparison, comparisons
from echofm_core.evaluation.labels import TASK_TITLES
from echofm_core.evaluation.model_names import LEAVE_ONE_OUT, model_order, model_title
from echofm_core.evaluation.paired import Finding
from echofm_core.evaluation.score import JOINT
from echofm_core.evaluation.score_table import at
from echofm_core.pages.grid import Grid, grid
from echofm_core.pages.style import data_uri
from echofm_core.pages.template import write_page
from echofm_core.privacy.config import NO_LOSS
from echofm_core.report.agreement import agreement_table
from echofm_core.report.agreement_by_site import agreement_by_site
from echofm_core.report.auc_tests import auc_test_table
from echofm_core.report.calibration import calibration_chart, calibration_table
from echofm_core.report.charts import ef_agreement, reduced_ef_roc, training_curves, without_loss
from echofm_core.report.checklist.facts import facts_of
from echofm_core.report.checklist.item import BLANK
from echofm_core.report.checklist.write import checklist_grids
from echofm_core.report.conformal import conformal_table
from echofm_core.report.few_shot import few_shot_curves, few_shot_table, read_few_shot
from echofm_core.report.heat_map import LEAD_STYLE, heat_maps
from echofm_core.report.overview import (
    FoundRow,
    asked,
    error_table,
    found_rows,
    matrices,
    unseen_rows,
)
from echofm_core.report.pictures import strip_parts
from echofm_core.report.rank_chart import rank_charts
from echofm_core.report.run_files import DAMAGED_PREDICTIONS, RunFiles, read_run
from echofm_core.report.stress import read_stress, stress_grids, stress_words
from echofm_core.report.subgroups import subgroup_table
from echofm_core.report.traffic import traffic
from echofm_core.report.words import encoder_start, words_of

#: CSS class of each finding.
STYLES = {
    Finding.BETTER: "better",
    Finding.WORSE: "worse",
    Finding.MEAN_ONLY: "worse",
    Finding.EQUAL: "unclear",
    Finding.UNCLEAR: "unclear",
}
#: With fewer test patients than this at every site, the page warns of small-run numbers.
SMALL = 200

#: Findings listed one by one; the rest stays in the run folder.
LISTED_FINDINGS = 500


def write_report(run: Path) -> Path:
    """Write ``report.html`` into a run folder, from the files of that folder alone.

    The page needs no network and no other file. Whatever is missing in the folder is named on the
    page instead.

    Args:
        run: The run folder.

    Returns:
        Path of the report; it appears whole or not at all.
    """
    context = page_context(read_run(run))
    return write_page(run / "report.html", "echofm_core.report", "report.html.j2", context)


def page_context(run: RunFiles) -> dict[str, Any]:
    """Everything that ``report.html.j2`` names."""
    shots, details = read_few_shot(run.folder), _details(run)
    facts = facts_of(run, details["calibration"], details["subgroups"])
    return {
        "at": at,
        "best_site": BEST_SITE,
        "model_title": model_title,
        "styles": STYLES,
        "title": run.summary.get("name", run.folder.name),
        "facts": _facts(run),
        "synthetic": bool(run.summary.get("synthetic")),
        "synthetic_sites": bool(run.summary.get("synthetic_sites")),
        "small": _small(run.scores),
        "notes": [str(note) for note in run.summary.get("notes", [])],
        "missing": run.missing,
        "damaged": [why for key, why in run.missing.items() if key.startswith(DAMAGED_PREDICTIONS)],
        "plan_text": run.plan_text,
        "few_shot": few_shot_table(shots, run.plan.evaluation.min_patients),
        "few_shot_curves": few_shot_curves(shots),
        **_stressed(run),
        **_overview(run),
        **_results(run),
        **details,
        "checklists": checklist_grids(facts),
        "blank": BLANK,
    }


def _stressed(run: RunFiles) -> dict[str, Any]:
    """What changes of the test clips cost; empty where nobody asked."""
    table = read_stress(run.folder)
    return {"stress": stress_grids(table), "stress_words": stress_words(table)}


def _overview(run: RunFiles) -> dict[str, Any]:
    """The first screen, and the sentences of the verdict."""
    plan, words, found, unseen = run.plan, words_of(run), found_rows(run), unseen_rows(run)
    threshold = f"{plan.finetune.reduced_ef_threshold:g}"
    return {
        "tasks": [TASK_TITLES[task] for task in plan.finetune.tasks],
        "asked": asked(run),
        "subject": model_title(model_order(run.scores["model"])[0]) if len(run.scores) else "",
        "rivals": _rivals(found),
        "found": found,
        "leave_one_out": bool((run.scores["model"] == LEAVE_ONE_OUT).any()),
        "unseen": ", ".join(run.unseen),
        "held_back": plan.protocol.unlabelled_target or bool(plan.evaluation.few_shot),
        "unseen_rows": unseen,
        "unseen_rivals": _rivals(unseen),
        "sure": words.sure,
        "errors": error_table(words, threshold, whole=True),
        "errors_by_site": error_table(words, threshold, whole=False),
        "by_stratum": bool(words.strata),
        "largest": words.largest,
        "few": plan.evaluation.min_patients,
        "matrices": matrices(run),
        "verdict": words.verdict,
        "published": words.published,
        "table_notes": words.table_notes,
        "threshold": threshold,
    }


def _rivals(rows: Sequence[FoundRow]) -> dict[str, str]:
    """Those that some row compares, with their titles."""
    return {r: title for r, title in RIVALS.items() if any(x.answers.get(r) for x in rows)}


def _results(run: RunFiles) -> dict[str, Any]:
    """Tables and comparisons."""
    config, (ranks, too_few_sites) = run.plan.evaluation, rank_charts(run)
    return {
        "ranks": ranks,
        "too_few_sites": too_few_sites,
        "heat_maps": heat_maps(run.scores, run.site_names, config.min_patients, run.unseen),
        "lead_style": LEAD_STYLE,
        "confidence": f"{config.confidence:.0%}",
        "resamples": config.bootstrap,
        "differences": _by_pair(comparisons(run.paired)),
    }


def _by_pair(found: Sequence[Comparison]) -> list[Comparison]:
    """All rows of a metric and two models together, the rest of the order as it is."""
    pairs: dict[tuple[object, str, str], list[Comparison]] = {}
    for item in found:
        pairs.setdefault((item.metric, item.model, item.rival), []).append(item)
    return [item for rows in pairs.values() for item in rows]


def _details(run: RunFiles) -> dict[str, Any]:
    """Pictures, and what stands behind the numbers."""
    plan = run.plan
    return {
        "curves": training_curves(run.metrics, plan.pretrain),
        "traffic": traffic(run.metrics),
        "silent": without_loss(run.metrics),
        "no_loss": NO_LOSS,
        "agreement_table": agreement_table(run),
        "agreement_by_site": agreement_by_site(run),
        "agreement": ef_agreement(run.predictions, plan.finetune.reduced_ef_threshold),
        "roc": reduced_ef_roc(run.predictions),
        "auc_tests": auc_test_table(run),
        "conformal": conformal_table(run),
        "calibration": calibration_table(run),
        "calibration_chart": calibration_chart(run),
        "subgroups": subgroup_table(run),
        "mask_ratio": f"{plan.pretrain.mask_ratio:.0%}",
        "reconstruction": [data_uri(png) for png in strip_parts(run.reconstruction or b"")],
        "contact_sheets": {site: data_uri(png) for site, png in run.contact_sheets.items()},
        "sites": grid(run.sites),
        "finding_counts": _finding_counts(run.findings),
        "findings": grid(run.findings.head(LISTED_FINDINGS)),
        "unlisted": max(0, len(run.findings) - LISTED_FINDINGS),
        "privacy": _privacy(run.summary.get("privacy") or []),
    }


def _facts(run: RunFiles) -> list[tuple[str, str]]:
    """What identifies the run, in the order shown."""
    summary = run.summary
    facts = []
    if seconds := summary.get("seconds"):
        facts.append(("took", _duration(float(seconds))))
    facts.append(("encoder started from", encoder_start(run)))
    hashes = {"plan_hash": "plan hash", "split_sha256": "split hash", "digest": "weights digest"}
    for key, title in hashes.items():
        if value := summary.get(key):
            facts.append((title, str(value)))
    if versions := summary.get("versions"):
        facts.append(("versions", ", ".join(f"{name} {v}" for name, v in versions.items())))
    return facts


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _small(scores: pd.DataFrame) -> int:
    """Largest number of test patients behind a site's score, where it is small; else 0."""
    sites = scores[~scores["site"].isin(JOINT)]
    most = int(sites["patients"].max()) if len(sites) else 0
    return most if most < SMALL else 0


def _finding_counts(findings: pd.DataFrame) -> Grid | None:
    if findings.empty:
        return None
    keys = ["dataset", "severity", "kind"]
    groups = findings.groupby(keys, observed=True)
    counts = groups["reason"].agg(count="size", example="first").reset_index()
    return grid(counts)


def _privacy(rows: Sequence[dict[str, Any]]) -> Grid | None:
    if not rows:
        return None

    def number(value: object, form: str) -> str:
        return "unknown" if value is None else format(float(str(value)), form)

    return Grid(
        columns=("site", "epsilon", "delta", "noise multiplier"),
        rows=tuple(
            (
                str(row.get("site")),
                number(row.get("epsilon"), ".2f"),
                number(row.get("delta"), ".1e"),
                number(row.get("noise_multiplier"), ".2f"),
            )
            for row in rows
        ),
        numbers=frozenset({1, 2, 3}),
    )
