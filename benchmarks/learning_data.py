"""SYNTHETIC patients of the learning benchmark: written and decoded once, labels hidden by arm."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from client.site import Site
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import Split, load_manifest, save_manifest
from echofm_core.data.prepare import ONE_SITE, Prepared, as_one_site, prepare
from echofm_core.data.store.clip_store import open_stores
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.plan.document import Plan
from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import ResumeError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.randomness import stream

#: Columns of the manifest that are labels of a task.
LABELS = ["ef", "esv", "edv", "as_grade"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Phantoms:
    """How many patients are drawn; a quarter of each institution is held out for the test.

    Attributes:
        echonet_dynamic: With EF and volumes, in EchoNet-Dynamic's layout.
        tmed2: With a grade of aortic stenosis, in TMED-2's.
        seed: Of the drawing. Not a seed of any arm: all arms and seeds see the same patients.
    """

    echonet_dynamic: int
    tmed2: int
    seed: int


def write_and_decode(phantoms: Phantoms, plan: Plan, folder: Path) -> None:
    """Write the patients and decode them into one store, unless that is done.

    Args:
        phantoms: Who is drawn.
        plan: How they are decoded.
        folder: Gets ``data/``, ``cache/`` and, last, ``manifest.parquet``.

    Raises:
        ResumeError: The folder holds other patients.
    """
    made, manifest = folder / "phantoms.json", folder / "manifest.parquet"
    words = asdict(phantoms) | {"data": plan.data.model_dump(mode="json")}
    if made.exists() and json.loads(made.read_text(encoding="utf-8")) != words:
        raise ResumeError(f"{folder} holds other patients or sizes; choose another --out.")
    if manifest.exists():
        return
    write_whole(made, json.dumps(words).encode())
    shutil.rmtree(folder / "data", ignore_errors=True)
    counts = {Layout.ECHONET_DYNAMIC: phantoms.echonet_dynamic, Layout.TMED2: phantoms.tmed2}
    with progress("writing SYNTHETIC patients", sum(counts.values())) as meter:
        roots = write_institutions(
            folder / "data", counts, seed=phantoms.seed, errors=False, meter=meter, workers=2
        )
    machine = plan.machine.model_copy(update={"roots": tuple(map(str, roots))})
    data = prepare(
        plan.data,
        machine,
        plan.protocol.datasets,
        folder / "cache",
        lambda rows: as_one_site(rows, plan.protocol, plan.seed),
        lambda rows: None,
    )
    save_manifest(without_validation(data.manifest), manifest)


def open_data(folder: Path) -> Prepared:
    """What :func:`write_and_decode` left."""
    return Prepared(
        manifest=load_manifest(folder / "manifest.parquet"),
        findings=Findings(),
        stores=folder / "cache" / "stores",
    )


def as_site(data: Prepared, plan: Plan) -> Site:
    """The data as a site of a federation sees them."""
    store = open_stores(data.stores)
    return Site(
        name=ONE_SITE,
        manifest=data.manifest,
        store=store,
        data=plan.data,
        finetune=plan.finetune,
        seed=plan.seed,
        views=plan.protocol.views,
    )


def without_validation(manifest: pd.DataFrame) -> pd.DataFrame:
    """Let validation patients train too, so that every arm ends with its last round.

    None is then chosen by labels that an arm with few of them would not have.
    """
    train = manifest["split"].replace(Split.VALIDATION.value, Split.TRAIN.value)
    return manifest.assign(split=train)


def with_labels(data: Prepared, percent: int, seed: int) -> Prepared:
    """Hide the labels of all but a share of each institution's training patients.

    Args:
        data: All labels.
        percent: Share that keeps its labels; at least one patient. Smaller shares are parts of
            larger ones, and all arms of a seed have the same patients.
        seed: Of the drawing.
    """
    manifest = data.manifest.copy()
    training = manifest[manifest["split"] == Split.TRAIN.value]
    for dataset, rows in training.groupby("dataset", observed=True):
        patients = sorted(rows["patient_id"].unique())
        order = stream(seed, str(dataset), 0, "benchmark.labels").permutation(patients)
        kept = order[: max(1, round(len(patients) * percent / 100))]
        hidden = rows.index[~rows["patient_id"].isin(kept)]
        manifest.loc[hidden, LABELS] = pd.NA
    return replace(data, manifest=manifest)
