"""A finished model on test clips that are changed in one way at a time."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from echofm_core.data.manifest import Split, load_manifest
from echofm_core.data.store.clip_store import ClipStore, open_stores
from echofm_core.evaluation.stress.clips import ChangedClips, Watch
from echofm_core.evaluation.stress.stressors import Setting, settings
from echofm_core.evaluation.stress.table import STRESS, stress_table
from echofm_core.models.saved import SavedModel, load_model
from echofm_core.models.weights_file import WEIGHTS
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan
from echofm_core.run_claim import PLAN, STUDY
from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import EmptySiteError, PlanError
from echofm_core.runtime.files import check_place, write_whole
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.runtime.text import many
from echofm_core.training.objectives.targets import labelled_rows
from echofm_core.training.predict import predict


def stress_run(run: Path, cache: Path | None, say: Callable[[str], None]) -> pd.DataFrame:
    """Test the model of a run at each of its sites as it was tested there, on changed clips.

    A model that a site has for itself (``[personal]``) is tested there in place of the shared one.

    Args:
        run: Folder of a finished run on this machine; gets ``stress.csv``.
        cache: Folder of decoded clips; None: the run's. Nothing is decoded.
        say: Called with what a reader must know.

    Returns:
        As of :func:`~echofm_core.evaluation.stress.table.stress_table`.

    Raises:
        PlanError: It is the folder of no such run.
        CheckpointError: The run has no trained model yet.
        StoreError: The decoded clips are gone.
        EmptySiteError: No test clip has a label of a trained task.
        OutputError: The run folder cannot be written to.
    """
    plan, manifest = _opened(run)
    check_place(run, folder=True)
    manifest = manifest[manifest["split"] == Split.TEST.value]
    if views := plan.protocol.views:
        manifest = manifest[manifest["view"].isin(list(views))]
    own = {site: run / "sites" / site / plan.run_name() / "model" for site in _sites(manifest)}
    models = {
        site: load_model(kept if (kept / WEIGHTS).is_file() else run) for site, kept in own.items()
    }
    store = open_stores((cache or Path(plan.machine.cache or run / "cache")) / "stores")
    return stress_models(models, store, manifest, plan, run, say)


def _opened(run: Path) -> tuple[Plan, pd.DataFrame]:
    """Plan and clips of a run on this machine."""
    if (run / STUDY).exists():
        raise PlanError(
            f"{run} holds a study: its models lie in {run}/seed-*/arms/*; give one of these "
            "folders, data folders and --out."
        )
    if not (run / PLAN).is_file():
        raise PlanError(f"{run} is no run folder: it has no {PLAN}; give data folders and --out.")
    clips = run / "manifests" / f"{EVERY_SITE}.parquet"
    if not clips.is_file():
        raise PlanError(
            f"{run} names no test clips, as neither a run between hospitals nor a training of a "
            "study does; give data folders and --out."
        )
    return load_plan(run / PLAN), load_manifest(clips)


def stress_models(
    models: Mapping[str, SavedModel],
    store: ClipStore,
    manifest: pd.DataFrame,
    plan: Plan,
    out: Path,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """Test each site's model on its clips under every setting, and write ``stress.csv``.

    Args:
        models: Site -> the model that is tested there.
        store: Decoded clips.
        manifest: The clips to test on; those that are not in the store are left out.
        plan: Says how clips become windows, and how scores are made.
        out: Folder to write to.
        say: Called with how many clips could not be changed, if any.

    Raises:
        EmptySiteError: No clip has a label of a trained task, or none can be read.
    """
    threshold = plan.finetune.reduced_ef_threshold
    sites = {
        site: labelled_rows(manifest[manifest["site"] == site], saved.tasks, threshold)
        for site, saved in models.items()
    }
    clips = sum(map(len, sites.values()))
    if not clips:
        raise EmptySiteError(
            f"none of {many(len(manifest), 'test clip')} has a label of a trained task; `echofm "
            "data doctor` counts the labels."
        )
    wanted, watch = list(settings()), Watch()
    with progress("stress", clips * len(wanted)) as meter, _threads(plan.machine.threads):
        watch.read = meter.advance
        tables = {each: _predicted(models, sites, store, plan, each, watch) for each in wanted}
    usable = {each: rows[~rows["clip_id"].isin(watch.unusable)] for each, rows in tables.items()}
    if watch.unusable:
        why = "; ".join(sorted(set(watch.unusable.values())))
        say(f"{many(len(watch.unusable), 'clip')} of {clips} count nowhere in the table: {why}")
    if all(rows.empty for rows in usable.values()):
        raise EmptySiteError(f"none of {many(clips, 'test clip')} could be read and changed.")
    found = stress_table(usable, plan.evaluation, plan.seed, threshold, plan.protocol.unseen)
    found = found.assign(left_out=len(watch.unusable))
    write_whole(out / STRESS, found.to_csv(index=False).encode())
    return found


def _predicted(
    models: Mapping[str, SavedModel],
    sites: Mapping[str, pd.DataFrame],
    store: ClipStore,
    plan: Plan,
    setting: Setting,
    watch: Watch,
) -> pd.DataFrame:
    """Predictions at all sites under one setting, each site's clips in batches of their own."""
    tables = []
    for site, saved in models.items():
        clips = ChangedClips(store, sites[site], plan.data, setting, plan.seed, watch)
        config = saved.plan.finetune.model_copy(update={"tasks": saved.tasks})
        device, batch = plan.machine.device, config.batch_size
        tables.append(predict(saved.model, clips, config, batch_size=batch, device=device))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def _sites(manifest: pd.DataFrame) -> list[str]:
    return sorted(map(str, manifest["site"].unique()))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """As many threads as the run's own tests had: the clips as they are give the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
