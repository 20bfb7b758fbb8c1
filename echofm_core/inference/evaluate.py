"""A saved model on an institution's labelled clips: predictions, and scores with intervals."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from echofm_core import __version__
from echofm_core.data.manifest import Split
from echofm_core.data.prepare import ONE_SITE, as_one_site, prepare
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.training_record import Record
from echofm_core.data.windows import ClipWindows
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.model_names import FLOOR
from echofm_core.inference.stress import stress_models
from echofm_core.inference.unseen import Overlap, overlap_of
from echofm_core.models.saved import SavedModel
from echofm_core.plan.document import Plan
from echofm_core.plan.machine import MachineConfig
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.report.run_scores import score_models
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.text import many
from echofm_core.training.predict import predict

#: What the model is called in the table.
MODEL = "model"


def evaluate_model(
    saved: SavedModel,
    machine: MachineConfig,
    out: Path,
    record: tuple[Path, Record] | None,
    *,
    everything: bool,
    seen: bool,
    stress: bool = False,
    say: Callable[[str], None],
) -> Plan:
    """Score a model on data folders; writes predictions, scores and ``summary.json``.

    Args:
        saved: The model; its own plan says how clips are split, and which views count.
        machine: Data folders, as downloaded, taken as one institution; folder of decoded clips.
        out: Folder to write to.
        record: Of its training, see :func:`~echofm_core.data.training_record.find_record`.
        everything: Score all clips, and not the test part alone.
        seen: Score patients whom the model was trained on, too.
        stress: Score the same clips changed, too, and write ``stress.csv`` beside the scores.
        say: Called before anything is decoded, with what is known of these; and of clips that could
            not be changed.

    Returns:
        The model's plan, with these folders.

    Raises:
        SeenPatientsError: There are such patients, and ``seen`` is not given.
        DataRootError: A folder holds no known layout.
        EmptySiteError: No clip has a label of a trained task.
    """
    protocol = saved.plan.protocol.model_copy(update={"datasets": ProtocolConfig().datasets})
    plan = saved.plan.model_copy(update={"machine": machine, "protocol": protocol})

    def place(manifest: pd.DataFrame) -> pd.DataFrame:
        return as_one_site(manifest, protocol, plan.seed)

    def rows(manifest: pd.DataFrame, split: Split) -> pd.DataFrame:
        if protocol.views:
            manifest = manifest[manifest["view"].isin(list(protocol.views))]
        return manifest if everything else manifest[manifest["split"] == split.value]

    def overlap(manifest: pd.DataFrame) -> Overlap:
        return overlap_of(saved, rows(manifest, Split.TEST), record, allowed=seen)

    data = prepare(
        plan.data,
        machine,
        protocol.datasets,
        Path(machine.cache),
        place,
        lambda found: say(overlap(place(found)).note()),
    )
    scored, store = overlap(data.manifest), open_stores(data.stores)
    train, test = (
        ClipWindows(store, rows(data.manifest, split), plan.data)
        for split in (Split.TRAIN, Split.TEST)
    )
    test_model(saved, test, out, None if everything else train)
    _write_summary(saved, scored, out)
    if stress:
        stress_models({ONE_SITE: saved}, store, test.manifest, plan, out, say)
    return plan


def _write_summary(saved: SavedModel, scored: Overlap, out: Path) -> None:
    """Which model was scored, and on how many patients."""
    summary = {
        "name": saved.plan.name,
        "plan_hash": saved.plan.digest(),
        "digest": saved.digest,
        "version": __version__,
        "patients": scored.patients,
        "patients_trained_on": scored.seen,
        "notes": [scored.note()],
    }
    write_whole(out / "summary.json", json.dumps(summary, indent=1).encode())


def test_model(
    saved: SavedModel,
    clips: ClipWindows,
    out: Path,
    train: ClipWindows | None = None,
    name: str = MODEL,
) -> pd.DataFrame:
    """Predict and score; writes ``predictions/MODEL.parquet``, the scores and the comparisons.

    Args:
        saved: The model; only tasks that it was trained for count.
        clips: Clips to test on.
        out: Folder to write to.
        train: Training clips of the institution that is tested: the floor without a network is
            fitted on them and stands beside the model, where they have labels enough.
        name: What the model is called in the table.

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
    if train is not None:
        floor = floor_predictions(train, clips, config, seed=plan.seed, site=ONE_SITE)
        tables |= {} if floor.empty else {FLOOR: floor}
    for model, table in tables.items():
        path = out / "predictions" / f"{model}.parquet"
        write_whole(path, table.assign(model=model).to_parquet(index=False))
    return score_models(tables, plan, out)
