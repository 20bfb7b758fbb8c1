"""The global model on a site's own test patients: predictions stay, metrics leave."""

from __future__ import annotations

import math

from client.site import Site
from client.state import SiteState, write_parquet
from echofm_core.contract import Instruction, SiteResult
from echofm_core.evaluation.score import score
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import load_arrays
from echofm_core.plan import Plan
from echofm_core.randomness import stream
from echofm_core.training.predict import predict


def evaluate(site: Site, plan: Plan, instruction: Instruction, state: SiteState) -> SiteResult:
    """Predict, keep ``predictions.parquet`` in the state folder, and score.

    Metrics that are not defined on these patients are left out.
    """
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
    # Named without the site: every model that meets these patients draws the same ones.
    rng = stream(plan.seed, "", 0, "bootstrap")
    # All rows are this site's own, whatever its manifest calls the places they come from.
    own = table.assign(site=site.name)
    scores = score(own, plan.evaluation, rng, plan.finetune.reduced_ef_threshold)
    metrics: dict[str, float] = {}
    counts: dict[str, int] = {}
    for row in scores[scores["site"] == site.name].to_dict("records"):
        name = f"{row['task']}/{row['metric']}"
        values = {name: row["value"], f"{name}/low": row["low"], f"{name}/high": row["high"]}
        metrics |= {key: float(value) for key, value in values.items() if math.isfinite(value)}
        counts[str(row["task"])] = int(row["patients"])
    return SiteResult(site=site.name, metrics=metrics, counts=counts)
