"""From the data folders of a plan to decoded clips; safe to run again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings
from echofm_core.data.readers.registry import dataset_of, layouts_at, read_roots
from echofm_core.data.splits import fill_splits
from echofm_core.data.store.build import build_store
from echofm_core.plan.document import Plan
from echofm_core.plan.preflight import check_words
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.console import progress
from echofm_core.runtime.errors import DataRootError, EmptySiteError
from echofm_core.runtime.text import did_you_mean, many

#: Name of the one site of an institution by itself; random streams are keyed with it.
ONE_SITE = "institution"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """What a model is trained or tested on.

    Attributes:
        manifest: Clips that are in a store, each with a site and a split.
        findings: What the readers and the decoder could not use.
        stores: Folder with one clip store a data set.
    """

    manifest: pd.DataFrame
    findings: Findings
    stores: Path

    def site_names(self) -> list[str]:
        """Names in the order that everything else follows."""
        return sorted(self.manifest["site"].unique())


def prepare(
    plan: Plan,
    cache: Path,
    place: Callable[[pd.DataFrame], pd.DataFrame],
    look: Callable[[pd.DataFrame], None],
) -> Prepared:
    """Read, decode and split all that ``machine.roots`` hold.

    Args:
        plan: Uses ``data``, ``machine`` and ``protocol``.
        cache: See :func:`decode`.
        place: Gives each clip of a manifest a site and a split.
        look: Sees what was read before anything is decoded, which takes longest, and may refuse it.

    Raises:
        DataRootError: As of :func:`read`.
        EmptySiteError: Nothing can be used.
    """
    manifest, findings = read(plan)
    look(manifest)
    manifest = place(decode(manifest, findings, plan, cache))
    return Prepared(manifest=manifest, findings=findings, stores=cache / "stores")


def as_one_site(manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.DataFrame:
    """All clips as those of one institution, split by patient."""
    return fill_splits(manifest.assign(site=ONE_SITE), config, seed).reset_index(drop=True)


def read(plan: Plan) -> tuple[pd.DataFrame, Findings]:
    """Read what ``machine.roots`` hold; nothing is decoded.

    Args:
        plan: Uses ``data``, ``machine.roots`` and ``protocol.datasets``.

    Returns:
        The manifest of the clips that may be used, and what cannot be.

    Raises:
        DataRootError: No root is given, or one is missing or holds no known layout, or a data set
            that the plan names is not there.
        EmptySiteError: Nothing can be used.
    """
    check_words(plan)
    roots, wanted = [Path(root) for root in plan.machine.roots], plan.protocol.datasets
    if wanted:
        check_names(wanted, {dataset_of(*layout) for layout in layouts_at(roots)})
    manifest, findings = read_roots(roots, plan.data)
    if wanted:
        manifest = manifest[manifest["dataset"].isin(wanted)]
    return _some(manifest, findings, plan), findings


def check_names(wanted: Collection[str], there: Collection[str]) -> None:
    """Refuse names of data sets that are not there.

    Raises:
        DataRootError: Says what was most likely meant.
    """
    for name in wanted:
        if name not in there:
            raise DataRootError(
                f"protocol.datasets names {name!r}{did_you_mean(name, there)}; the data roots hold "
                f"{', '.join(sorted(there))}: add its folder to machine.roots, or mend the name."
            )


def decode(manifest: pd.DataFrame, findings: Findings, plan: Plan, cache: Path) -> pd.DataFrame:
    """Decode clips into ``cache/stores``, one store a data set.

    Args:
        manifest: What to decode.
        findings: Gets what cannot be decoded.
        plan: Uses ``data`` and ``machine.workers``.
        cache: Shared by runs; rebuilt only where a source changed.

    Returns:
        The manifest of the clips that are in a store.

    Raises:
        EmptySiteError: None is.
    """
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
    return _some(pd.concat(usable, ignore_index=True), findings, plan)


def _some(manifest: pd.DataFrame, findings: Findings, plan: Plan) -> pd.DataFrame:
    if manifest.empty:
        raise EmptySiteError(
            f"nothing under {list(plan.machine.roots)} can be used, for "
            f"{many(len(findings.items), 'reason')}; `echofm data doctor` lists the reasons."
        )
    return manifest
