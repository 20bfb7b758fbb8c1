"""From the data folders of a plan to decoded clips; safe to run again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from echofm_core.console import progress
from echofm_core.data.clip_store import build_store
from echofm_core.data.findings import Findings
from echofm_core.data.readers.registry import read_roots
from echofm_core.errors import DataRootError, EmptySiteError
from echofm_core.plan import Plan


def read_and_decode(plan: Plan, cache: Path) -> tuple[pd.DataFrame, Findings]:
    """Read what ``machine.roots`` hold, and decode it into ``cache/stores``, one store a data set.

    Args:
        plan: Uses ``data``, ``machine`` and ``protocol.datasets``.
        cache: Shared by runs; rebuilt only where a source changed.

    Returns:
        The manifest of the clips that are in a store, and what could not be used.

    Raises:
        DataRootError: No root is given, or one is missing or holds no known layout.
        EmptySiteError: Nothing can be used.
    """
    if not plan.machine.roots:
        raise DataRootError(
            "the plan names no data: set machine.roots to the folders of the data sets, "
            "as downloaded."
        )
    manifest, findings = read_roots([Path(root) for root in plan.machine.roots], plan.data)
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
            "used; `echofm data doctor` lists the reasons."
        )
    return pd.concat(usable, ignore_index=True), findings
