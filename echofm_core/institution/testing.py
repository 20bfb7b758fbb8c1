"""A saved model on labelled clips: predictions, and scores with intervals over patients."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from echofm_core.data.windows import ClipWindows
from echofm_core.errors import EmptySiteError
from echofm_core.evaluation.score import score
from echofm_core.models.saved import SavedModel
from echofm_core.randomness import stream
from echofm_core.training.predict import predict


def test_model(saved: SavedModel, clips: ClipWindows, name: str, out: Path) -> pd.DataFrame:
    """Predict and score; writes ``predictions/NAME.parquet`` and ``scores.parquet``.

    Args:
        saved: The model; only tasks that it was trained for count.
        clips: Clips to test on.
        name: What the model is called in the table.
        out: Folder to write to.

    Returns:
        Columns model, site, task, metric, value, low, high, patients.

    Raises:
        EmptySiteError: No clip has a label of a trained task.
    """
    plan = saved.plan
    config = plan.finetune.model_copy(update={"tasks": saved.tasks})
    rows = predict(
        saved.model, clips, config, batch_size=config.batch_size, device=plan.machine.device
    )
    if rows.empty:
        raise EmptySiteError(
            f"none of {len(clips)} clips has a label of {', '.join(saved.tasks)}; `echofm data "
            "doctor` counts the labels."
        )
    folder = out / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    rows.assign(model=name).to_parquet(folder / f"{name}.parquet", index=False)
    rng = stream(plan.seed, "", 0, "bootstrap")
    scores = score(rows, plan.evaluation, rng, config.reduced_ef_threshold)
    scores.insert(0, "model", name)
    scores.to_parquet(out / "scores.parquet", index=False)
    return scores
