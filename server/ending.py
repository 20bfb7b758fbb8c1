"""The end of a federation: its model tested at every site, and what stays on disk."""

import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

import pandas as pd

from echofm_core.contract import Phase, SiteDescription, SiteResult, Weights, group_of
from echofm_core.models.local_names import local_names
from echofm_core.models.saved import save_model, trained_tasks
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.files import write_whole
from server.evaluation import evaluate
from server.events import Event, EventKind, OnEvent
from server.handover import chosen_rounds
from server.journal import Journal, write_json
from server.live_steps import OnStep, ignore_step
from server.metrics import metrics_table
from server.reception import Site
from server.run import Run
from server.unlearned import unseen_clips


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How a federation is begun, shown and ended; a plan says what it trains.

    Attributes:
        arm: Name of this model in ``metrics.parquet``.
        members: Sites to wait for, each with the node of its key; without any,
            ``federation.min_sites`` of any name.
        wait_seconds: How long to wait for them at most; the plan says how long once enough of
            them are there.
        tracking_store: Folder of the local MLflow store, where several runs share one.
        floor: Have each site score what needs no network beside the model.
        start: Weights that the first phase begins with, whole groups, in place of those that the
            plan starts from.
        on_step: Shows what single sites do.
    """

    arm: str = "federated"
    members: Mapping[str, int] = field(default_factory=dict)
    wait_seconds: float = 600.0
    tracking_store: Path | None = None
    floor: bool = False
    start: Weights = field(default_factory=dict)
    on_step: OnStep = ignore_step


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationResult:
    """What a federation ends with.

    Attributes:
        weights: Shared groups of the final model, float32, adapters merged; after pre-training
            alone the encoder.
        digest: Their digest.
        site_results: Test scores, in site order.
        failed: Site -> why its test did not count.
        sites: What each site reported of itself, by name.
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


def finish(
    run: Run,
    weights: Weights,
    journal: Journal,
    sites: Mapping[str, Site],
    options: RunOptions,
    on_event: OnEvent,
) -> FederationResult:
    """Test the final model, without adapters, and write it and its metrics into the run folder.

    A site whose test fails is named, and its row is missing; without fine-tuning there is no test.
    """
    plan, folder = run.plan, run.folder
    entries, about = journal.entries(), {name: site.about for name, site in sites.items()}
    found = [entry.warnings for entry in entries] + [unseen_clips(about, plan.finetune)]
    for each in filter(None, found):
        on_event(Event(kind=EventKind.WARNED, phase=Phase.FINETUNE.value, warnings=each))
    results: list[SiteResult] = []
    failed: dict[str, str] = {}
    if plan.finetune.rounds:
        started = time.monotonic()
        results, failed = evaluate(
            run, weights, sites, floor=options.floor, on_step=options.on_step
        )
        seconds = round(time.monotonic() - started, 3)
        rows = [_as_json(result) for result in results]
        outcome = {"sites": rows, "failed": failed, "plan_hash": plan.digest()}
        write_json(folder / "evaluation.json", outcome)
        names = tuple(result.site for result in results)
        on_event(Event(kind=EventKind.EVALUATED, sites=names, refused=failed, seconds=seconds))
    trained = {group for entry in entries for site in entry.sites.values() for group in site.counts}
    if not plan.personal.share_final:  # here what stays is as it was drawn
        trained -= {group_of(name) for name in local_names(plan)}
    metrics = metrics_table(options.arm, entries, results)
    save_model(folder / "model", weights, plan, trained_tasks(trained))
    write_whole(folder / "metrics.parquet", metrics.to_parquet(index=False))
    shutil.rmtree(run.scratch, ignore_errors=True)
    return FederationResult(
        weights=weights,
        digest=digest(weights),
        site_results=tuple(results),
        failed=failed,
        sites=about,
        metrics=metrics,
        warnings=tuple(f"{site}: {what}" for each in found for site, what in each.items()),
        notes=chosen_rounds(journal, plan),
    )


def _as_json(result: SiteResult) -> dict[str, object]:
    """A result for a JSON file, which knows no NaN: not defined is null."""
    scores = {
        name: [value if math.isfinite(value) else None for value in astuple(score)]
        for name, score in result.scores.items()
    }
    return {**asdict(result), "scores": scores}
