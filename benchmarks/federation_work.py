"""Trains and tests the arms of the federation benchmark; what the folder has is not done again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.federation_arms import STENOSIS, Arm, pretraining, recipe
from echofm_core.data.manifest import Split, load_manifest, save_manifest
from echofm_core.data.prepare import decode, read
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.evaluation import model_names
from echofm_core.evaluation.floor import floor_predictions
from echofm_core.evaluation.model_names import model_title
from echofm_core.models.saved import pin_start
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.plan.document import Plan
from echofm_core.runtime.console import progress
from echofm_core.training.config import ExecutionConfig
from server.evaluation import evaluate_sites
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from simulations.prepare import prepare_sites, save_sites, site_manifest

#: Patients of the federation, and the seed that they are drawn with.
PATIENTS = {
    Layout.ECHONET_DYNAMIC: 440,
    Layout.CAMUS: 120,
    Layout.MIMIC_IV_ECHO: 30,
    Layout.TMED2: 90,
}
DRAWN = 7
#: Further patients of ``STENOSIS`` as test: its own are too few to tell two models apart.
FURTHER = {Layout.TMED2: 240}
FURTHER_DRAWN = 4242
#: Their site name, and the name of the run that tests at them.
ELSEWHERE = "further"
#: How tables write the floor.
FLOOR = model_title(model_names.FLOOR)
#: What is written last into the folder of a finished arm.
PREDICTIONS = "predictions.parquet"


def write_and_decode(folder: Path) -> None:
    """Write and decode all patients into a folder, unless that is done."""
    if not (folder / "data.done").exists():
        _write(folder / "data", PATIENTS, DRAWN)
        plan = _rooted(folder / "data", recipe())
        prepared = prepare_sites(plan, folder / "cache")
        save_sites(prepared, plan, folder)
        (folder / "data.done").touch()
    if not (folder / "further.done").exists():
        _write(folder / ELSEWHERE, FURTHER, FURTHER_DRAWN)
        plan = _rooted(folder / ELSEWHERE, recipe())
        found = decode(
            *read(plan.data, plan.machine, plan.protocol.datasets),
            plan.data,
            plan.machine,
            _further_cache(folder),
        )
        graded = found[found["as_grade"].notna()].reset_index(drop=True)
        graded = graded.assign(site=ELSEWHERE, split=Split.TEST.value)
        save_manifest(graded, site_manifest(folder, ELSEWHERE))
        (folder / "further.done").touch()


def run_all(arms: Sequence[Arm], folder: Path) -> None:
    """Train and test every arm, one after the other, in this process."""
    with (
        Engine(execution=ExecutionConfig(device="cpu")) as engine,
        progress("training arms", len(arms)) as meter,
    ):
        for arm in arms:
            run_arm(arm, folder, engine)
            meter.advance(1, note=f"seed {arm.seed}: {arm.name}")


def run_arm(arm: Arm, folder: Path, engine: Engine) -> None:
    """Train and test one arm, unless its folder is finished; killed, it goes on."""
    place, plan = place_of(arm, folder), arm.plan()
    if finished(arm, folder):
        return
    sites = [STENOSIS] if arm.alone else _sites(folder)
    if not arm.alone:
        plan = _started(plan, _pretrained(arm.seed, folder, engine))
    grid = engine.grid([_settings(folder, place, site) for site in sites])
    result = run_federation(grid, plan, place, resume=(place / "journal").exists())
    further = engine.grid([_settings(folder, place, ELSEWHERE)])
    evaluate_sites(further, plan, result.weights)
    parts = [
        pd.read_parquet(path)
        for site in (*sites, ELSEWHERE)
        if (path := place / "sites" / site / plan.run_name() / "predictions.parquet").exists()
    ]
    pd.concat(parts, ignore_index=True).to_parquet(place / PREDICTIONS, index=False)


def finished(arm: Arm, folder: Path) -> bool:
    """Is the arm trained and tested?"""
    return (place_of(arm, folder) / PREDICTIONS).exists()


def predictions_of(arm: Arm, folder: Path) -> pd.DataFrame:
    """What a finished arm predicted for the test clips of every site."""
    return pd.read_parquet(place_of(arm, folder) / PREDICTIONS)


def floor_of(folder: Path) -> pd.DataFrame:
    """What the floor predicts for the test clips of every site with labels."""
    plan, stores = recipe(), open_stores(folder / "cache" / "stores")
    tables = []
    for site in _sites(folder):
        clips = load_manifest(site_manifest(folder, site))
        train, test = (
            ClipWindows(stores, clips[clips["split"] == split.value], plan.data)
            for split in (Split.TRAIN, Split.TEST)
        )
        found = floor_predictions(train, test, plan.finetune, seed=plan.seed, site=site)
        tables.append(found.assign(site=site))
    return pd.concat(tables, ignore_index=True)


def place_of(arm: Arm, folder: Path) -> Path:
    """The run folder of an arm: another recipe, another folder."""
    return folder / "runs" / f"seed-{arm.seed}" / f"{_plain(arm.name)}-{arm.plan().digest()[:8]}"


def _pretrained(seed: int, folder: Path, engine: Engine) -> Path:
    """Run folder of the federated pre-training; trained where it is not there."""
    plan = pretraining(seed)
    place = folder / "runs" / f"seed-{seed}" / f"pretraining-{plan.digest()[:8]}"
    grid = engine.grid([_settings(folder, place, site) for site in _sites(folder)])
    if not (place / "model" / "model.safetensors").exists():
        run_federation(grid, plan, place, resume=(place / "journal").exists())
    return place


def _started(plan: Plan, start: Path) -> Plan:
    return pin_start(
        plan.model_copy(update={"machine": plan.machine.model_copy(update={"start": str(start)})})
    )


def _sites(folder: Path) -> list[str]:
    return sorted(pd.read_parquet(folder / "sites.parquet")["site"].unique())


def _settings(folder: Path, place: Path, site: str) -> SiteSettings:
    cache = _further_cache(folder) if site == ELSEWHERE else folder / "cache"
    return SiteSettings(
        name=site,
        manifest=site_manifest(folder, site),
        store=cache / "stores",
        state=place / "sites" / site,
    )


def _write(folder: Path, patients: Mapping[Layout, int], seed: int) -> None:
    if folder.exists() and (folder / ".complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    with progress("writing SYNTHETIC patients", sum(patients.values())) as meter:
        write_institutions(folder, patients, seed=seed, meter=meter, workers=2)
    (folder / ".complete").touch()


def _rooted(root: Path, plan: Plan) -> Plan:
    machine = plan.machine.model_copy(update={"roots": (str(root),), "workers": 2})
    return plan.model_copy(update={"machine": machine})


def _further_cache(folder: Path) -> Path:
    return folder / "cache" / ELSEWHERE


def _plain(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")
