"""The end of a federation: its model tested at every site, and what stays on disk."""

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import pandas as pd
from flwr.serverapp import Grid

from echofm_core.contract import SiteDescription, SiteResult, Weights
from echofm_core.models.saved import save_model, trained_tasks
from echofm_core.plan.document import Plan
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.files import write_whole
from server.evaluation import evaluate
from server.events import Event, EventKind, OnEvent
from server.journal import Entry, write_json
from server.metrics import metrics_table
from server.sites import Site


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationResult:
    """What a federation ends with.

    Attributes:
        weights: Shared groups of the final model, float32, adapters merged; after pre-training
            alone the encoder.
        digest: Their digest.
        site_results: Test scores, in site order.
        failed: Site -> why its test did not count.
        sites: Site -> what it said of itself.
        metrics: Columns arm, phase, round, site, metric, value.
        warnings: A sentence for each site with a task hardly learnt, or with clips never seen.
        notes: A sentence for each phase that ended with another round than its last.
    """

    weights: Weights
    digest: str
    site_results: tuple[SiteResult, ...]
    failed: Mapping[str, str]
    sites: Mapping[str, SiteDescription]
    metrics: pd.DataFrame
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a federation ends.

    Attributes:
        folder: Run folder.
        run: Name of the state folder where each site keeps its predictions.
        arm: Name of the model in ``metrics.parquet``.
        warnings, notes: What to tell with the result.
        floor: Have each site score what needs no network beside the model.
        tell: Hears of the test.
    """

    folder: Path
    run: str
    arm: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    floor: bool
    tell: OnEvent


def finish(
    grid: Grid,
    plan: Plan,
    weights: Weights,
    sites: Mapping[str, Site],
    entries: Sequence[Entry],
    end: Ending,
) -> FederationResult:
    """Test the final model at the sites, and write it with its metrics into the run folder.

    Args:
        grid: Where the sites are.
        plan: What was run; without fine-tuning there is nothing to test.
        weights: The final model, without adapters.
        sites: From ``gather_sites``.
        entries: All rounds, in order.
        end: What else is to be known.
    """
    results: list[SiteResult] = []
    failed: dict[str, str] = {}
    if plan.finetune.rounds:
        results, failed = _test(grid, plan, weights, sites, end)
    metrics = metrics_table(end.arm, entries, results)
    _write(end.folder, plan, weights, entries, metrics)
    shutil.rmtree(end.folder / "scratch", ignore_errors=True)
    return FederationResult(
        weights=weights,
        digest=digest(weights),
        site_results=tuple(results),
        failed=failed,
        sites={site: found.about for site, found in sites.items()},
        metrics=metrics,
        warnings=end.warnings,
        notes=end.notes,
    )


def _test(
    grid: Grid, plan: Plan, weights: Weights, sites: Mapping[str, Site], end: Ending
) -> tuple[list[SiteResult], dict[str, str]]:
    """Test the final model; a site that fails is named, and its row is missing."""
    started = time.monotonic()
    scratch = end.folder / "scratch"
    results, failed = evaluate(grid, plan, weights, sites, end.run, scratch, floor=end.floor)
    seconds = round(time.monotonic() - started, 3)
    outcome = {"sites": [_told(result) for result in results], "failed": failed}
    write_json(end.folder / "evaluation.json", {**outcome, "plan_hash": plan.digest()})
    names = tuple(result.site for result in results)
    end.tell(Event(kind=EventKind.EVALUATED, sites=names, refused=failed, seconds=seconds))
    return results, failed


def _told(result: SiteResult) -> dict[str, object]:
    """A result for a JSON file, which knows no NaN: not defined is null."""
    scores = {
        name: [value if math.isfinite(value) else None for value in astuple(score)]
        for name, score in result.scores.items()
    }
    return {**asdict(result), "scores": scores}


def _write(
    folder: Path, plan: Plan, weights: Weights, entries: Sequence[Entry], metrics: pd.DataFrame
) -> None:
    """Write the final model and the table of metrics."""
    groups = {group for entry in entries for site in entry.sites.values() for group in site.counts}
    save_model(folder / "model", weights, plan, trained_tasks(groups))
    write_whole(folder / "metrics.parquet", metrics.to_parquet(index=False))
