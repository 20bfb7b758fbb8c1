"""The floor at every site of an experiment: one more model of the table, without a network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from client.site import Site
from echofm_core.contract import Phase
from echofm_core.data.manifest import load_manifest
from echofm_core.data.store.clip_store import open_stores
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.model_names import FLOOR
from echofm_core.plan.document import Plan
from echofm_core.runtime.files import write_whole
from simulations.prepare import PreparedSites, site_manifest


def write_floor(plan: Plan, run: Path, prepared: PreparedSites) -> None:
    """Fit it at each site on what the site fine-tunes on, and write its test predictions.

    ``predictions/no_network.parquet`` is whole or not there; a plan without fine-tuning, and sites
    without enough labels for any task, have none.
    """
    if not plan.finetune.rounds:
        return
    store = open_stores(prepared.stores)
    parts = []
    for name in prepared.site_names():
        rows = load_manifest(site_manifest(run, name))
        site = Site(name=name, manifest=rows, store=store, device="cpu", threads=1)
        train, test = site.train_clips(Phase.FINETUNE, plan), site.test_clips(plan)
        parts.append(floor_predictions(train, test, plan.finetune, seed=plan.seed, site=name))
    if any(len(part) for part in parts):
        out = run / "predictions" / f"{FLOOR}.parquet"
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        write_whole(out, table.assign(model=FLOOR).to_parquet(index=False))
