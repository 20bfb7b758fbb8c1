"""Three small institutions with real files, stores and manifests, and a plan that suits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from echofm_core.data.manifest import load_manifest, manifest_from_rows, save_manifest
from echofm_core.data.store.build import build_store
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from simulations.engine import SiteSettings
from tests.data.files import speckle, write_avi

#: ``alpha`` and ``beta`` measure EF, ``gamma`` grades stenosis and has no EF.
NAMES = ("alpha", "beta", "gamma")
#: Training patients, one clip each; each site has two test patients more.
TRAIN = {"alpha": 4, "beta": 3, "gamma": 2}
TEST = 2


def small_plan(**changes: dict[str, Any]) -> Plan:
    """Two rounds of each phase with a 32-pixel model; tables of the plan may be changed.

    Fine-tuning takes three steps a round, so that the second round begins within a pass over the
    clips of each site, and weighs sites by what all of them announced.
    """
    values: dict[str, Any] = {
        "name": "small",
        "seed": 7,
        "data": {"size": 32, "frames": 4, "min_clip_frames": 2, "test_windows": 1},
        "model": {"size": "tiny"},
        "pretrain": {"rounds": 2, "batch_size": 2},
        "finetune": {
            "rounds": 2, "batch_size": 2, "local_steps": 3,
            "tasks": ["ef", "reduced_ef", "as_grade"],
        },
        "federation": {"trunk_weights": "task_family"},
        "evaluation": {"bootstrap": 100},
    }  # fmt: skip
    for table, change in changes.items():
        values[table] = {**values.get(table, {}), **change}
    return plan_from_mapping(values, "test")


def build_sites(
    folder: Path, names: tuple[str, ...] = NAMES, train: Mapping[str, int] = TRAIN
) -> list[SiteSettings]:
    """Write clips, stores and manifests under a folder; state folders are there too."""
    return [_build_site(folder / name, name, train[name]) for name in names]


def validating(sites: list[SiteSettings], folder: Path) -> list[SiteSettings]:
    """The same sites with their last training patient held out, by manifests under a folder."""
    made = []
    for site in sites:
        rows = load_manifest(site.manifest)
        last = rows.index[rows["split"] == "train"][-1]
        rows.loc[last, "split"] = "val"
        path = folder / f"{site.name}.parquet"
        save_manifest(rows, path)
        made.append(replace(site, manifest=path))
    return made


def with_states(sites: list[SiteSettings], folder: Path) -> list[SiteSettings]:
    """The same sites with fresh state folders."""
    return [
        SiteSettings(
            name=site.name, manifest=site.manifest, store=site.store, state=folder / site.name
        )
        for site in sites
    ]


def _build_site(folder: Path, name: str, train: int) -> SiteSettings:
    clips = folder / "clips"
    clips.mkdir(parents=True)
    rows = []  # without a site, as `echofm data index` leaves them
    for number in range(train + TEST):
        # A patient's name in the path, as hospitals have it: it must never leave the site.
        path = clips / f"Doe^John^{number}.avi"
        write_avi(path, speckle(8, seed=100 * NAMES.index(name) + number))
        labels = (
            {"as_grade": number % 3}
            if name == "gamma"
            else {"ef": 35.0 + 10 * (number % 6) + number // 6}
        )
        rows.append(
            {
                "dataset": "echonet_dynamic",
                "patient_id": f"{name}-p{number}",
                "study_id": f"{name}-s{number}",
                "clip_id": f"{name}-c{number}",
                "path": str(path),
                "view": "A4C",
                "split": "train" if number < train else "test",
                "n_frames": 8,
                "fps": 50.0,
                **labels,
            }
        )
    manifest = manifest_from_rows(rows)
    store, findings = build_store(
        manifest, folder / "stores" / "echonet_dynamic", small_plan().data
    )
    assert len(store) == len(rows), findings.items
    save_manifest(manifest, folder / "manifest.parquet")
    return SiteSettings(
        name=name,
        manifest=folder / "manifest.parquet",
        store=folder / "stores",
        state=folder / "state",
    )
