"""A saved model on labelled clips: predictions, and scores with intervals over patients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from echofm_core.data.windows import ClipWindows
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.model_names import FLOOR
from echofm_core.institution.data import SITE
from echofm_core.models.saved import SavedModel
from echofm_core.plan.document import Plan
from echofm_core.report.run_scores import score_models
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many
from echofm_core.training.predict import predict


def test_model(
    saved: SavedModel,
    clips: ClipWindows,
    name: str,
    out: Path,
    *,
    taught: ClipWindows | None = None,
) -> pd.DataFrame:
    """Predict and score; writes ``predictions/MODEL.parquet``, the scores and the comparisons.

    Args:
        saved: The model; only tasks that it was trained for count.
        clips: Clips to test on.
        name: What the model is called in the table.
        out: Folder to write to.
        taught: Training clips of the institution that is tested: the floor without a network is
            fitted on them and stands beside the model, where they have labels enough.

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
            f"none of {many(len(clips), 'clip')} has a label of {', '.join(saved.tasks)}; `echofm "
            "data doctor` counts the labels."
        )
    tables = {name: rows}
    if taught is not None:
        floor = floor_predictions(taught, clips, config, seed=plan.seed, site=SITE)
        tables |= {} if floor.empty else {FLOOR: floor}
    return write_scores(tables, plan, out)


def write_scores(tables: Mapping[str, pd.DataFrame], plan: Plan, out: Path) -> pd.DataFrame:
    """Score predictions by model; files and result as of :func:`test_model`."""
    folder = out / "predictions"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        write_whole(folder / f"{name}.parquet", rows.assign(model=name).to_parquet(index=False))
    return score_models(tables, plan, out)
