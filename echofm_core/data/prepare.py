"""From the data folders of a plan to decoded clips; safe to run again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings
from echofm_core.data.readers.registry import layouts_at, read_roots
from echofm_core.data.splits import fill_splits
from echofm_core.data.store.build import build_stores
from echofm_core.plan.machine import MachineConfig
from echofm_core.plan.preflight import check_words
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError, PlanError
from echofm_core.runtime.text import did_you_mean, many

#: Name of the one site of an institution by itself; random streams are keyed with it.
ONE_SITE = "institution"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """What a model is trained or tested on, and what the readers and the decoder could not use."""

    manifest: pd.DataFrame
    """Clips that are in a store, each with a site and a split."""
    findings: Findings
    stores: Path
    """Folder with one clip store a data set."""

    def site_names(self) -> list[str]:
        """Names in the order that everything else follows."""
        return sorted(self.manifest["site"].unique())


def prepare(
    data: DataConfig,
    machine: MachineConfig,
    datasets: Sequence[str],
    cache: Path,
    assign: Callable[[pd.DataFrame], pd.DataFrame],
    check: Callable[[pd.DataFrame], None],
) -> Prepared:
    """Read, decode and split all that ``machine.roots`` hold.

    Args:
        data, machine, datasets: See :func:`read`.
        cache: See :func:`decode`.
        assign: Gives each clip of a manifest a site and a split.
        check: May refuse what was read, before anything is decoded, which takes longest.

    Raises:
        DataRootError, PlanError: As of :func:`read`.
        EmptySiteError: Nothing can be used.
    """
    manifest, findings = read(data, machine, datasets)
    check(manifest)
    manifest = assign(decode(manifest, findings, data, machine, cache))
    return Prepared(manifest=manifest, findings=findings, stores=cache / "stores")


def as_one_site(manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.DataFrame:
    """All clips as those of one institution, split by patient."""
    return fill_splits(manifest.assign(site=ONE_SITE), config, seed).reset_index(drop=True)


def read(
    data: DataConfig, machine: MachineConfig, datasets: Sequence[str] = ()
) -> tuple[pd.DataFrame, Findings]:
    """Read what ``machine.roots`` hold, of some data sets or of all; nothing is decoded.

    Returns:
        The manifest of the clips that may be used, and what cannot be.

    Raises:
        DataRootError: No root is given, or one is missing or holds no known layout.
        PlanError: A data set that the plan names is not there.
        EmptySiteError: Nothing can be used.
    """
    check_words(machine)
    roots = [Path(root) for root in machine.roots]
    if datasets:
        there = {reader.source(place).dataset for reader, place in layouts_at(roots)}
        check_names(datasets, there)
    manifest, findings = read_roots(roots, data)
    if datasets:
        manifest = manifest[manifest["dataset"].isin(datasets)]
        findings.items = [item for item in findings.items if item.dataset in datasets]
    return _some(manifest, findings, machine), findings


def check_names(wanted: Collection[str], there: Collection[str]) -> None:
    """Refuse names of data sets that are not there.

    Raises:
        PlanError: Says what was most likely meant.
    """
    for name in wanted:
        if name not in there:
            raise PlanError(
                f"protocol.datasets names {name!r}{did_you_mean(name, there)}; the data roots hold "
                f"{', '.join(sorted(there))}: add its folder to machine.roots, or mend the name."
            )


def decode(
    manifest: pd.DataFrame,
    findings: Findings,
    data: DataConfig,
    machine: MachineConfig,
    cache: Path,
) -> pd.DataFrame:
    """Decode clips into ``cache/stores``, one store a data set, rebuilt where a source changed.

    Returns:
        The manifest of the clips that are in a store; ``findings`` gets what cannot be decoded.

    Raises:
        EmptySiteError: None is in a store.
        StoreError: The disk is too small or cannot be written, or no decoder can be started.
    """
    usable = []
    for rows, store, undecodable in build_stores(manifest, cache / "stores", data, machine.workers):
        findings.extend(undecodable)
        usable.append(rows[[clip in store for clip in rows["clip_id"]]])
    return _some(pd.concat(usable, ignore_index=True), findings, machine)


def _some(manifest: pd.DataFrame, findings: Findings, machine: MachineConfig) -> pd.DataFrame:
    if manifest.empty:
        raise EmptySiteError(
            f"nothing under {list(machine.roots)} can be used, for "
            f"{many(len(findings.items), 'reason')}; `echofm data doctor` lists the reasons."
        )
    return manifest
