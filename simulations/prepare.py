"""From data folders to sites on disk: manifests, clip stores, splits. Safe to run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.console import progress
from echofm_core.data.clip_store import build_store, open_stores
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import save_manifest
from echofm_core.data.readers.registry import read_roots
from echofm_core.data.windows import ClipWindows
from echofm_core.errors import DataRootError, EmptySiteError
from echofm_core.plan import Plan
from echofm_core.tasks import TASKS, Task
from simulations.protocols.assign import assign_sites


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedSites:
    """What a run trains on.

    Attributes:
        manifest: Clips that are in a store, with site and split; the single source of truth.
        findings: Everything the readers and the decoder could not use.
        stores: Folder with one clip store a data set.
    """

    manifest: pd.DataFrame
    findings: Findings
    stores: Path

    def site_names(self) -> list[str]:
        """Names in the order that everything else follows."""
        return sorted(self.manifest["site"].unique())


def prepare_sites(plan: Plan, cache: Path) -> PreparedSites:
    """Read, decode and split what the plan names.

    Args:
        plan: Uses its data, protocol and machine tables.
        cache: Where the clip stores go; shared by runs, rebuilt only where a source changed.

    Raises:
        DataRootError: No root is given, or one is missing or holds no known layout.
        EmptySiteError: A site ends up with nothing usable.
    """
    if not plan.machine.roots:
        raise DataRootError(
            "the plan names no data: set machine.roots to the folders of the data sets, "
            "as downloaded."
        )
    manifest, findings = read_roots([Path(root) for root in plan.machine.roots])
    if plan.protocol.datasets:
        manifest = manifest[manifest["dataset"].isin(plan.protocol.datasets)]
    usable = []
    for dataset, rows in manifest.groupby("dataset", observed=True):
        with progress(f"decoding {dataset}", len(rows)) as meter:
            store, undecodable = build_store(
                rows.reset_index(drop=True),
                cache / "stores" / str(dataset),
                plan.data,
                workers=plan.machine.workers,
                meter=meter,
            )
        findings.extend(undecodable)
        usable.append(rows[[clip in store for clip in rows["clip_id"]]])
    if not usable or not sum(len(rows) for rows in usable):
        raise EmptySiteError(
            f"none of the {len(findings.items)} files under {list(plan.machine.roots)} can be "
            "used; `echofm data index` lists the reasons."
        )
    placed = assign_sites(pd.concat(usable), plan.protocol, plan.seed)
    return PreparedSites(manifest=placed, findings=findings, stores=cache / "stores")


def mirrored_notes(prepared: PreparedSites, plan: Plan) -> list[str]:
    """A sentence a site where clips hold less than a window and are played forth and back."""
    windows = ClipWindows(open_stores(prepared.stores), prepared.manifest, plan.data)
    short = pd.Series([windows.mirrored(index) for index in range(len(windows))])
    counts = short.groupby(windows.manifest["site"]).agg(["sum", "count"])
    return [
        f"{site}: {row['sum']} of {row['count']} clips hold less than "
        f"{plan.data.window_seconds:g} s and are mirrored in time."
        for site, row in counts.iterrows()
        if row["sum"]
    ]


def save_sites(prepared: PreparedSites, plan: Plan, run: Path) -> None:
    """Write the run folder's ``sites.parquet``, ``findings.parquet`` and one manifest a site."""
    for site, rows in prepared.manifest.groupby("site", observed=True):
        save_manifest(rows.reset_index(drop=True), site_manifest(run, str(site)))
    save_manifest(prepared.manifest, site_manifest(run, "all"))
    census(prepared.manifest, plan).to_parquet(run / "sites.parquet", index=False)
    prepared.findings.table().to_parquet(run / "findings.parquet", index=False)


def site_manifest(run: Path, site: str) -> Path:
    """Where a site's manifest is in the run folder; ``all`` is every site together."""
    return run / "manifests" / f"{site}.parquet"


def census(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Clips, patients and label counts by site and split; what is printed before training."""
    rows = []
    for (site, dataset, split), part in manifest.groupby(
        ["site", "dataset", "split"], observed=True
    ):
        labels = {task.value: label_count(part, plan, task) for task in plan.finetune.tasks}
        rows.append(
            {
                "site": site,
                "dataset": dataset,
                "split": split,
                "clips": len(part),
                "patients": part["patient_id"].nunique(),
                **labels,
            }
        )
    return pd.DataFrame(rows)


def label_count(manifest: pd.DataFrame, plan: Plan, task: Task) -> int:
    """Clips with a label for a task, among the views that the protocol admits."""
    if plan.protocol.views:
        manifest = manifest[manifest["view"].isin(plan.protocol.views)]
    return int(manifest[TASKS[task].column].notna().sum())
