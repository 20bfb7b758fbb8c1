"""SYNTHETIC patients of the learning benchmark: written, decoded, and the cines deleted again."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.learning_pieces import Cohort, Patients
from benchmarks.learning_recipe import Recipe
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import Split, load_manifest, save_manifest
from echofm_core.data.prepare import Prepared, prepare
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.phantom.hospitals import Hospital
from echofm_core.phantom.institutions import write_hospitals
from echofm_core.plan.document import Plan
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.randomness import stream
from echofm_core.tasks import TASKS

#: Columns that are hidden where a patient has no labels.
LABELS = sorted({spec.column for spec in TASKS.values()} - {"view"})
TRUTH = "truth.parquet"


def write_patients(piece: Patients, recipe: Recipe, place: Path) -> None:
    """Write and decode the patients of a piece.

    The place then holds ``stores/``, a manifest ``train.parquet`` or ``test.parquet`` or both, with
    a site a hospital and its reader's labels, and ``truth.parquet``: the exact EF by clip.
    """
    shutil.rmtree(place, ignore_errors=True)  # of a run that was killed
    truth, seed = [], recipe.drawn.seed(piece.draw)
    for split, (hospitals, patients) in piece.hospitals(recipe).items():
        raw = place / "raw" / split
        manifest = _decoded(raw, hospitals, patients, seed, recipe.plan, place)
        truth += [pd.read_csv(file) for file in sorted(raw.glob("*.truth.csv"))]
        if split == Split.TRAIN and piece.cohort is Cohort.DRAW:
            manifest = with_labels(manifest, recipe.drawn.labelled, seed)
        save_manifest(manifest.assign(split=split), place / f"{split}.parquet")
    exact = pd.concat(truth, ignore_index=True)[["clip", "ef"]]
    write_whole(place / TRUTH, exact.to_parquet(index=False))
    shutil.rmtree(place / "raw")  # twice the decoded frames, and never read again


def _decoded(
    raw: Path, hospitals: Sequence[Hospital], patients: int, seed: int, plan: Plan, cache: Path
) -> pd.DataFrame:
    """Hospitals written and decoded: their manifest, a site each."""
    roots = write_hospitals(raw, hospitals, patients, seed=seed)
    machine = plan.machine.model_copy(update={"roots": tuple(map(str, roots))})

    def place(manifest: pd.DataFrame) -> pd.DataFrame:
        return manifest.assign(site=manifest["dataset"])

    data = prepare(plan.data, machine, (), cache, place, lambda _: None)
    if len(data.manifest) != patients * len(hospitals):
        raise RuntimeError(f"{len(data.manifest)} clips could be decoded of those under {raw}.")
    return data.manifest


def with_labels(manifest: pd.DataFrame, patients: int, seed: int) -> pd.DataFrame:
    """Hide the labels of all but so many patients of each site, drawn by the seed."""
    hidden = []
    for site, rows in manifest.groupby("site", observed=True):
        everybody = sorted(rows["patient_id"].unique())
        order = stream(seed, str(site), 0, "benchmark.labels").permutation(everybody)
        hidden += rows.index[rows["patient_id"].isin(order[patients:])].tolist()
    manifest = manifest.copy()
    manifest.loc[hidden, LABELS] = pd.NA
    return manifest


def patients_at(places: Sequence[Path], split: str, stores: Path | None = None) -> Prepared:
    """The patients that :func:`write_patients` left at one place.

    Those of several places are put together, where ``stores`` has links to all their stores.
    """
    if stores is None:
        (place,) = places
        stores = place / "stores"
    else:
        stores.mkdir(parents=True, exist_ok=True)
        for store in (store for place in places for store in (place / "stores").iterdir()):
            link = stores / store.name
            link.unlink(missing_ok=True)
            link.symlink_to(store.resolve(), target_is_directory=True)
    manifests = [load_manifest(place / f"{split}.parquet") for place in places]
    whole = pd.concat(manifests, ignore_index=True)
    return Prepared(manifest=whole, findings=Findings(), stores=stores)


def windows_of(data: Prepared, plan: Plan) -> ClipWindows:
    """All clips of prepared data."""
    return ClipWindows(open_stores(data.stores), data.manifest, plan.data)


def exact_ef(place: Path) -> pd.Series:
    """Clip -> EF that the heart was drawn with, in percent."""
    return pd.read_parquet(place / TRUTH).set_index("clip")["ef"]
