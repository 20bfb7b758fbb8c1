"""From the predictions of a run to its scores and comparisons."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from echofm_core.evaluation.levels import level_table
from echofm_core.evaluation.model_names import model_order
from echofm_core.evaluation.paired import paired_table
from echofm_core.evaluation.score import COLUMNS, score
from echofm_core.plan.document import Plan
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.randomness import stream


def score_models(predictions: Mapping[str, pd.DataFrame], plan: Plan, run: Path) -> pd.DataFrame:
    """Write ``levels.parquet``, ``scores.parquet`` and ``paired.parquet``.

    Args:
        predictions: Model name -> rows of :func:`echofm_core.training.predict.predict`.
        plan: Resamples, level, threshold, seed, and the sites that no model trained on.
        run: Folder to write to.

    Returns:
        The scores: columns model, site, task, metric, value, low, high, patients.
    """
    threshold, unseen = plan.finetune.reduced_ef_threshold, plan.protocol.unseen
    tables = [pd.DataFrame(columns=["model", *COLUMNS])]
    for model in model_order(predictions):
        # One stream for all models: the same patients are drawn, so rows compare.
        rng = stream(plan.seed, "", 0, "bootstrap")
        table = score(predictions[model], plan.evaluation, rng, threshold, unseen)
        tables.append(table.assign(model=model)[["model", *COLUMNS]])
    scores = pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)
    levels = level_table(scores, plan.evaluation.min_patients, unseen)
    write_whole(run / "levels.parquet", levels.to_parquet(index=False))
    write_whole(run / "scores.parquet", scores.to_parquet(index=False))
    paired = paired_table(predictions, plan.evaluation, plan.seed, threshold, unseen)
    write_whole(run / "paired.parquet", paired.to_parquet(index=False))
    return scores
