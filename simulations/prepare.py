"""From data folders to sites on disk: manifests, clip stores, splits. Safe to run again."""

from pathlib import Path

import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import Split, check_patients_disjoint, save_manifest
from echofm_core.data.prepare import Prepared, prepare
from echofm_core.data.splits import label_counts, labelled_sites
from echofm_core.data.store.clip_store import open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.plan.protocol import SYNTHETIC
from echofm_core.runtime.errors import ManifestError, PlanError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import EVERY_SITE, site_name_fault
from echofm_core.runtime.text import listed
from echofm_core.tasks import TASKS
from echofm_core.training.label_share import as_trained
from simulations.protocols.assign import assign_sites

#: In ``sites.parquet``, the split of training patients of sites that no model sees.
NOT_TRAINED = "not trained"


def prepare_sites(plan: Plan, cache: Path) -> Prepared:
    """Read, decode and split what the plan names; clip stores in ``cache`` are shared by runs.

    Raises:
        DataRootError: No root is given, or one is missing or holds no known layout, or a data set
            that the plan names is not there.
        EmptySiteError: A site ends up with nothing usable.
        ManifestError: A site cannot be named as the manifest names it.
        PlanError: There are fewer sites than the plan asks for. All this is found before decoding,
            which takes longest, where headers and tables show it.
    """

    def place(manifest: pd.DataFrame) -> pd.DataFrame:
        few_shot = bool(plan.evaluation.few_shot)
        return assign_sites(manifest, plan.protocol, plan.seed, few_shot=few_shot)

    def check(manifest: pd.DataFrame) -> None:
        if plan.protocol.name not in SYNTHETIC:  # the draw would be another one
            check_sites(place(manifest), plan)

    prepared = prepare(plan.data, plan.machine, plan.protocol.datasets, cache, place, check)
    check_sites(prepared.manifest, plan)
    return prepared


def check_sites(manifest: pd.DataFrame, plan: Plan) -> None:
    """Refuse sites that cannot be named, and a plan whose rounds would find too few of them.

    Raises:
        ManifestError: A site cannot be named as the manifest names it.
        PlanError: Fewer sites to train on than ``federation.min_sites``, or fewer with labels.
    """
    least, unseen = plan.federation.min_sites, plan.protocol.unseen
    for name in sorted(manifest["site"].unique()):
        if fault := site_name_fault(name):
            raise ManifestError(f"site name {name[:80]!r} {fault}; change it in the source.")
    sites = sorted(trained_on(manifest, plan)["site"].unique())
    if len(sites) < least:
        besides = f" besides {', '.join(unseen)}, which no model sees" if unseen else ""
        raise PlanError(
            f"federation.min_sites is {least}, but the protocol {plan.protocol.name.value} makes "
            f"{len(sites)} of these data ({', '.join(sites)}){besides}; lower it, or add data."
        )
    trained = trained_on(manifest, plan)
    labelled = labelled_sites(trained, plan.finetune.tasks, plan.protocol.views)
    if plan.finetune.rounds and len(labelled) < least:
        tasks = ", ".join(plan.finetune.tasks)
        raise PlanError(
            f"federation.min_sites is {least}, but {len(labelled)} of {len(sites)} sites have "
            f"training labels for {tasks} ({', '.join(labelled) or 'none'}), so that no round of "
            "fine-tuning could count; lower it, name other tasks or views, or set finetune.rounds "
            "to 0."
        )


def mirrored_notes(prepared: Prepared, config: DataConfig) -> list[str]:
    """At most one sentence: at which sites clips hold less than a window."""
    windows = ClipWindows(open_stores(prepared.stores), prepared.manifest, config)
    short = pd.Series([timeline.mirrored for timeline in windows.timelines])
    counts = short.groupby(windows.manifest["site"]).agg(["sum", "count"])
    found = [
        f"{row['sum']} of {row['count']} at {site}" for site, row in counts.iterrows() if row["sum"]
    ]
    words = f"Clips that hold less than {config.window_seconds:g} s are mirrored in time"
    return [f"{words}: {listed(found)}."] if found else []


def save_sites(prepared: Prepared, plan: Plan, run: Path) -> None:
    """Write the run folder's ``sites.parquet``, ``findings.parquet`` and one manifest a site.

    A manifest has all clips and labels; ``sites.parquet`` counts those that the plan trains on.
    Pooled data have a manifest of their own where the plan names sites that no model sees, and so
    have clips without labels where ``protocol.unlabelled_target`` lets them into pre-training.
    """
    check_patients_disjoint(prepared.manifest, "the split of this run")
    for site, rows in prepared.manifest.groupby("site", observed=True):
        save_manifest(rows.reset_index(drop=True), site_manifest(run, str(site)))
    save_manifest(prepared.manifest, site_manifest(run, EVERY_SITE))
    if plan.protocol.unseen:
        parts = [unlabelled(prepared.manifest, site) for site in lent(prepared.manifest, plan)]
        parts = [part for part in parts if part["site"].isin(plan.protocol.unseen).all()]
        pooled = pd.concat([trained_on(prepared.manifest, plan), *parts], ignore_index=True)
        save_manifest(pooled, pooled_manifest(run, plan))
    for site in lent(prepared.manifest, plan):
        file = site_manifest(run, unlabelled_name(site))
        save_manifest(unlabelled(prepared.manifest, site), file)
    trained = as_trained(prepared.manifest, plan)
    aside = trained["site"].isin(plan.protocol.unseen) & (trained["split"] == Split.TRAIN.value)
    trained = trained.assign(split=trained["split"].mask(aside, NOT_TRAINED))
    counts = label_counts(trained, plan.finetune.tasks, plan.protocol.views)
    write_whole(run / "sites.parquet", counts.to_parquet(index=False))
    write_whole(run / "findings.parquet", prepared.findings.table().to_parquet(index=False))


def lent(manifest: pd.DataFrame, plan: Plan) -> list[str]:
    """Sites whose training clips models that do not see them may pre-train on, without labels."""
    if not plan.protocol.unlabelled_target:
        return []
    return sorted(manifest.loc[manifest["split"] == Split.TRAIN.value, "site"].unique())


def unlabelled(manifest: pd.DataFrame, site: str) -> pd.DataFrame:
    """A site's training clips without any label."""
    chosen = (manifest["site"] == site) & (manifest["split"] == Split.TRAIN.value)
    rows = manifest[chosen].reset_index(drop=True)
    columns = {spec.column for spec in TASKS.values()}
    return rows.assign(**{name: rows[name].mask(rows[name].notna()) for name in sorted(columns)})


def unlabelled_name(site: str) -> str:
    """Name of the manifest of :func:`unlabelled`; no site's name begins so."""
    return f"_unlabelled-{site}"


def site_manifest(run: Path, site: str) -> Path:
    """Where a site's manifest is in the run folder; ``all`` is every site together."""
    return run / "manifests" / f"{site}.parquet"


def pooled_manifest(run: Path, plan: Plan) -> Path:
    """Where the manifest of the sites that models train on is, all together."""
    # No site's name begins with an underscore.
    return site_manifest(run, "_pooled" if plan.protocol.unseen else EVERY_SITE)


def trained_on(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The rows of the sites that models may see."""
    rows = manifest[~manifest["site"].isin(plan.protocol.unseen)]
    return rows.reset_index(drop=True)
