"""A finished model at every site's own test patients; only metrics come back."""

import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid

from echofm_core.contract import Action, SiteResult, Weights
from echofm_core.live.states import Doing
from echofm_core.plan.document import Plan
from echofm_core.post_processing import post_processing
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.text import many
from server.events import ignore
from server.live_steps import OnStep, answered, asked, ignore_step
from server.reception import Site
from server.result_admission import ExpectedResult, admit_result
from server.run import Run
from server.sites import gather_sites
from server.wire import read_reply, reasons, sentence, wired


def evaluate(
    run: Run,
    weights: Weights,
    sites: Mapping[str, Site],
    *,
    floor: bool = False,
    on_step: OnStep = ignore_step,
) -> tuple[list[SiteResult], dict[str, str]]:
    """Evaluate at all sites that have test labels for a planned task.

    Args:
        run: What the model is, and which tasks count; each site keeps its predictions in the state
            folder of its name.
        weights: Encoder, STF-Net and heads.
        sites: From ``gather_sites``.
        floor: Ask for the scores of what needs no network beside the model's.
        on_step: Shows which sites have answered.

    Returns:
        Admitted results in site order, and site -> reason for those without one.
    """
    federation, tasks = run.plan.federation, [task.value for task in run.plan.finetune.tasks]
    labels = {
        name: {task: site.about.test_labels.get(task, 0) for task in tasks}
        for name, site in sites.items()
    }
    nodes = {name: site.node for name, site in sites.items() if any(labels[name].values())}
    ready = {name: array.astype(np.float32, copy=False) for name, array in weights.items()}
    model = wired(ready, post_processing(federation))
    sent, seconds, plan_hash = digest(model.sent), federation.deadline_seconds, run.plan.digest()
    settings = {"floor": float(floor)}
    asking = run.ask(Action.EVALUATE, nodes, seconds, arrays=model.record, settings=settings)
    results: dict[str, SiteResult] = {}
    failed: dict[str, str] = {}
    on_step(asked(Doing.TEST, nodes))
    with closing(asking) as replies:
        for name, reply in replies:
            expected = ExpectedResult(
                site=name,
                plan_hash=plan_hash,
                digest=sent,
                most_patients=labels[name],
                released=sites[name].about.released,
            )
            try:
                result = read_reply(reply, SiteResult)
                admit_result(result, expected)
                results[name] = result
            except RefusedUpdateError as error:
                failed[name] = sentence(error)
            on_step(answered(name, reply, failed.get(name, "")))
    return [results[name] for name in sorted(results)], dict(sorted(failed.items()))


def evaluate_sites(grid: Grid, plan: Plan, weights: Weights) -> list[SiteResult]:
    """Test a model at every site of a grid that has test labels for a planned task.

    The sites need not have trained it; each keeps predictions in its state folder.

    Raises:
        FederationError: A site could not answer.
    """
    with tempfile.TemporaryDirectory(prefix="echofm-") as folder:
        run = Run(grid, plan, Path(folder))
        results, failed = evaluate(run, weights, gather_sites(run, ignore, least=1))
    if failed:
        raise FederationError(
            f"{many(len(failed), 'site')} could not be evaluated ({reasons(failed)})."
        )
    return results
