"""A finished model at every site's own test patients; only metrics come back."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid

from echofm_core.contract import Action, Instruction, SiteResult, Weights
from echofm_core.plan.document import Plan
from echofm_core.post_processing import post_processing
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.text import many
from server.events import ignore
from server.replies import open_replies
from server.result_admission import ExpectedResult, admit_result
from server.sites import Site, gather_sites
from server.wire import read_reply, reasons, sentence, to_message, wired


def evaluate(
    grid: Grid,
    plan: Plan,
    weights: Weights,
    sites: Mapping[str, Site],
    run: str,
    scratch: Path,
    *,
    floor: bool = False,
) -> tuple[list[SiteResult], dict[str, str]]:
    """Evaluate at all sites that have test labels for a planned task.

    Args:
        grid: Where the sites are.
        plan: What the model is, and which tasks count.
        weights: Encoder, STF-Net and heads.
        sites: From ``gather_sites``.
        run: Name of the state folder where each site keeps its predictions.
        scratch: Folder for early replies.
        floor: Ask for the scores of what needs no network beside the model's.

    Returns:
        Admitted results in site order, and site -> reason for those without one.
    """
    tasks = [task.value for task in plan.finetune.tasks]
    labels = {
        name: {task: site.about.test_labels.get(task, 0) for task in tasks}
        for name, site in sites.items()
    }
    question = Instruction(
        action=Action.EVALUATE,
        round=0,
        plan=plan.to_json(),
        plan_hash=plan.digest(),
        run=run,
        settings={"floor": float(floor)},
    )
    ready = {name: array.astype(np.float32, copy=False) for name, array in weights.items()}
    model = wired(ready, post_processing(plan.federation))
    sent, seconds = digest(model.sent), plan.federation.deadline_seconds
    messages = {
        name: to_message(question, model.record, site.node, seconds)
        for name, site in sites.items()
        if any(labels[name].values())
    }
    results: list[SiteResult] = []
    failed: dict[str, str] = {}
    with closing(open_replies(grid, scratch)) as replies:
        for name, reply in replies.collect(messages, time.monotonic() + seconds):
            expected = ExpectedResult(
                site=name, plan_hash=question.plan_hash, digest=sent, most_patients=labels[name]
            )
            try:
                result = read_reply(reply, SiteResult, seconds)
                admit_result(result, expected)
                results.append(result)
            except RefusedUpdateError as error:
                failed[name] = sentence(error)
    return results, failed


def evaluate_sites(grid: Grid, plan: Plan, weights: Weights, *, run: str) -> list[SiteResult]:
    """Test a model at every site of a grid that has test labels for a planned task.

    Args as of :func:`evaluate`; the sites need not have trained the model.

    Raises:
        FederationError: A site could not answer.
    """
    with tempfile.TemporaryDirectory(prefix="echofm-") as scratch:
        sites = gather_sites(grid, plan, run, Path(scratch), ignore, least=1)
        results, failed = evaluate(grid, plan, weights, sites, run, Path(scratch))
    if failed:
        raise FederationError(
            f"{many(len(failed), 'site')} could not be evaluated ({reasons(failed)})."
        )
    return results
