"""The global model on a site's own test patients: predictions stay, metrics leave."""

from __future__ import annotations

import pandas as pd

from client.site import Site
from client.state import SiteState, write_parquet
from echofm_core.checksum import digest
from echofm_core.contract import Instruction, Score, Scored, SiteResult, score_name
from echofm_core.evaluation.score import score
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import load_arrays
from echofm_core.plan import Plan
from echofm_core.randomness import stream
from echofm_core.training.predict import predict

#: Columns of a score table that leave the site, in this order.
_SENT = ["task", "metric", "value", "low", "high"]


def evaluate(site: Site, plan: Plan, instruction: Instruction, state: SiteState) -> SiteResult:
    """Predict, keep ``predictions.parquet`` in the state folder, and score."""
    model = build_echo_model(plan)
    load_arrays(model, instruction.weights)
    table = predict(
        model,
        site.test_clips(plan),
        plan.finetune,
        batch_size=plan.finetune.batch_size,
        device=site.device,
    )
    write_parquet(table, state.folder / "predictions.parquet")
    # All rows are this site's own, whatever its manifest calls the places they come from.
    own = table.assign(site=site.name)
    # Named without the site: every model that meets these patients draws the same ones.
    rng = stream(plan.seed, "", 0, "bootstrap")
    rows = score(own, plan.evaluation, rng, plan.finetune.reduced_ef_threshold)
    rows = rows[rows["site"] == site.name]
    return SiteResult(
        site=site.name,
        plan_hash=instruction.plan_hash,
        digest=digest(instruction.weights),
        patients={str(task): int(part["patients"].iloc[0]) for task, part in rows.groupby("task")},
        scores=_scores(Scored.MODEL, rows),
    )


def _scores(tested: Scored, rows: pd.DataFrame) -> dict[str, Score]:
    """Rows of a score table as they leave the site."""
    return {
        score_name(tested, task, metric): Score(value=value, low=low, high=high)
        for task, metric, value, low, high in rows[_SENT].itertuples(index=False)
    }
