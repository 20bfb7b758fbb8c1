"""What one institution trains, validates and tests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from echofm_core.contract import Phase
from echofm_core.data.census import labelled_sites
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import Split
from echofm_core.data.people import people
from echofm_core.data.prepare import decode, read
from echofm_core.data.splits import fill_splits
from echofm_core.data.store.clip_store import ClipStore, open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.runtime.text import many

#: Sees a manifest, and may refuse it.
Look = Callable[[pd.DataFrame], None]
#: Name of the one site; random streams are keyed with it.
SITE = "institution"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class InstitutionData:
    """Clips that are decoded, with a split each.

    Attributes:
        manifest: ``site`` is :data:`SITE`; patients are in one split only.
        findings: What could not be used.
        store: Decoded clips.
    """

    manifest: pd.DataFrame
    findings: Findings
    store: ClipStore

    def windows(self, split: Split | None, plan: Plan, phase: Phase) -> ClipWindows:
        """Clips of a split (None: all); the plan's views hold for fine-tuning and tests only."""
        rows = self.manifest
        if split is not None:
            rows = rows[rows["split"] == split.value]
        if phase is Phase.FINETUNE and plan.protocol.views:
            rows = rows[rows["view"].isin(list(plan.protocol.views))]
        return ClipWindows(self.store, rows, plan.data)

    def summary(self, plan: Plan, phase: Phase) -> str:
        """One line: clips of each split for a phase, patients, and files that cannot be used."""
        counts = {split: len(self.windows(split, plan, phase)) for split in Split}
        quarantined = {
            (found.dataset, found.item)
            for found in self.findings.items
            if found.severity is Severity.QUARANTINED
        }
        return (
            f"{many(counts[Split.TRAIN], 'clip')} to train on, {counts[Split.VALIDATION]} to "
            f"validate, {counts[Split.TEST]} to test, of "
            f"{many(people(self.manifest).nunique(), 'patient')}; "
            f"{many(len(quarantined), 'file')} cannot be used"
        )


def prepare(plan: Plan, cache: Path, look: Look | None = None) -> InstitutionData:
    """Read, decode and split all that ``machine.roots`` hold, as one institution.

    Args:
        plan: Uses ``data``, ``machine`` and ``protocol``.
        cache: See :func:`~echofm_core.data.prepare.decode`.
        look: Sees the manifest, with splits, before anything is decoded, which takes longest.

    Raises:
        DataRootError: No root is given, or one holds no known layout.
        EmptySiteError: Nothing can be used.
    """
    manifest, findings = read(plan)
    if look is not None:
        look(_split(manifest, plan))
    manifest = _split(decode(manifest, findings, plan, cache), plan)
    store = open_stores(cache / "stores")
    return InstitutionData(manifest=manifest, findings=findings, store=store)


def check_training(manifest: pd.DataFrame, plan: Plan, phase: Phase) -> None:
    """Refuse data that a phase has nothing to train on; nothing need be decoded for it.

    Raises:
        EmptySiteError: No clip is for training, or none has a label of a planned task.
    """
    if not (manifest["split"] == Split.TRAIN.value).any():
        raise EmptySiteError(
            f"none of {many(len(manifest), 'clip')} is for training; lower protocol.test_fraction, "
            "or add data."
        )
    if phase is Phase.FINETUNE and not labelled_sites(manifest, plan):
        raise EmptySiteError(
            f"no training clip has a label for {', '.join(plan.finetune.tasks)}; `echofm data "
            "doctor` counts the labels: name other tasks or views, or pre-train."
        )


def _split(manifest: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    placed = fill_splits(manifest.assign(site=SITE), plan.protocol, plan.seed)
    return placed.reset_index(drop=True)
