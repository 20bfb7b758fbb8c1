"""A site as its ClientApp sees it: its manifest, its clips, its settings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from echofm_core.contract import Phase, SiteDescription
from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import Split, load_manifest
from echofm_core.data.patients import patient_keys
from echofm_core.data.splits import fill_splits
from echofm_core.data.store.clip_store import ClipStore, open_stores
from echofm_core.data.windows import ClipWindows
from echofm_core.plan.document import Plan
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import FederationError
from echofm_core.tasks import TASKS, Task
from echofm_core.training.config import ExecutionConfig, FinetuneConfig
from echofm_core.training.label_share import withheld
from echofm_core.training.objectives.targets import labels_of

NodeConfig = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One institution's side of a run.

    Attributes:
        manifest: Its clips, each with a split and a site.
        store: Its decoded clips.
        seed: The plan's, by which patients are drawn where a share of labels is used.
        views: Views that fine-tuning and tests take; empty means all.
        execution: How this machine trains.
        min_patients: Fewest patients behind a label or a split; with fewer there is none.
        unstored: Clips that the manifest leaves out, since they could not be used.
    """

    name: str
    manifest: pd.DataFrame
    store: ClipStore
    data: DataConfig
    finetune: FinetuneConfig
    seed: int
    views: tuple[str, ...] = ()
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    min_patients: int = 1
    unstored: int = 0

    @classmethod
    def open(cls, config: NodeConfig, plan: Plan, *, min_patients: int = 1) -> Site:
        """Open what the node config names.

        The rows are this site's, whatever the column ``site`` says: `echofm data index` leaves it
        empty. Where a data set has no split of its own, the plan's protocol cuts it by patient.

        Raises:
            FederationError: A key is missing from the node config.
            ManifestError, StoreError: The data are not as they must be.
        """
        name, folder = setting(config, "site"), Path(setting(config, "store"))
        (version,) = _versions([Path(setting(config, "manifest"))])
        # It passes over what vanishes meanwhile: somebody may be building a store.
        files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
        return cls(
            name=name,
            manifest=_split_rows(version, name, plan.protocol, plan.seed).copy(),
            store=_opened(folder, _versions(sorted(files))),
            data=plan.data,
            finetune=plan.finetune,
            seed=plan.seed,
            views=plan.protocol.views,
            execution=ExecutionConfig.model_validate(
                {key: config[key] for key in ExecutionConfig.model_fields if key in config}
            ),
            min_patients=min_patients,
        )

    def train_clips(self, phase: Phase) -> ClipWindows:
        """Training clips of a phase; the site's ``views`` hold for fine-tuning only.

        So does the share of labels: clips of patients whose labels are not used are left out.
        """
        return self._clips(Split.TRAIN, phase)

    def validation_clips(self, phase: Phase) -> ClipWindows:
        """Validation clips of a phase, as :meth:`train_clips`."""
        return self._clips(Split.VALIDATION, phase)

    def test_clips(self) -> ClipWindows:
        """Test clips of the site's ``views``."""
        return self._clips(Split.TEST, Phase.FINETUNE)

    def describe(self) -> SiteDescription:
        """Counts that the server may know."""
        train = self.train_clips(Phase.PRETRAIN).manifest
        return SiteDescription(
            site=self.name,
            train_clips=len(train),
            train_patients=patients(train),
            labels=self._label_counts(self.train_clips(Phase.FINETUNE)),
            test_labels=self._label_counts(self.test_clips()),
            quarantined=self.unstored
            + sum(str(clip) not in self.store for clip in self.manifest["clip_id"]),
        )

    def patients_by_phase(self) -> dict[Phase, int]:
        """Training patients whom each phase may draw; what the privacy accounting counts."""
        finetune = self.train_clips(Phase.FINETUNE)
        labelled = np.isfinite(list(self._labels(finetune).values())).any(axis=0)
        return {
            Phase.PRETRAIN: patients(self.train_clips(Phase.PRETRAIN).manifest),
            Phase.FINETUNE: patients(finetune.manifest.iloc[np.flatnonzero(labelled)]),
        }

    def _clips(self, split: Split, phase: Phase) -> ClipWindows:
        rows = self.manifest[self.manifest["split"] == split.value]
        if phase is Phase.FINETUNE and self.views:
            rows = rows[rows["view"].isin(list(self.views))]
        clips = ClipWindows(self.store, rows, self.data)
        # Drawn from, and counted in, what is used: the plan decides which views and clips that is.
        used = clips.manifest
        if phase is Phase.FINETUNE and split is Split.TRAIN and self.finetune.label_fraction < 1:
            used = used[~withheld(used, self.finetune, self.seed)]
        if self.min_patients > 1:
            used = large_cells(used, self.min_patients)
        return clips if used is clips.manifest else ClipWindows(self.store, used, self.data)

    def _labels(self, clips: ClipWindows) -> Mapping[Task, np.ndarray]:
        config = self.finetune
        return labels_of(clips.manifest, config.tasks, config.reduced_ef_threshold)

    def _label_counts(self, clips: ClipWindows) -> dict[str, int]:
        """Task -> clips with its label; tasks without any are left out."""
        labels = self._labels(clips).items()
        counts = {task.value: int(np.isfinite(values).sum()) for task, values in labels}
        return {task: count for task, count in counts.items() if count}


def patients(manifest: pd.DataFrame) -> int:
    """Distinct patients."""
    return patient_keys(manifest).nunique()


def large_cells(rows: pd.DataFrame, least: int) -> pd.DataFrame:
    """The rows without labels that fewer patients have; no row where there are fewer patients.

    So no count, loss, score or weight over a smaller number of them is ever computed.
    """
    if patients(rows) < least:
        return rows.iloc[:0]
    columns = {spec.column for spec in TASKS.values()}
    few = [name for name in sorted(columns) if patients(rows[rows[name].notna()]) < least]
    return rows.assign(**{name: rows[name].mask(rows[name].notna()) for name in few})


def setting(config: NodeConfig, key: str) -> str:
    """A text setting of the node config.

    Raises:
        FederationError: It is not there.
    """
    value = config.get(key)
    if not value:
        raise FederationError(
            f"the node config of this site lacks `{key}`; start the SuperNode with "
            f"--node-config '{key}=\"...\"'."
        )
    return str(value)


#: A file, and what changes with its content: node, time of change in ns, and size.
_Version = tuple[Path, tuple[int, int, int] | None]


def _versions(paths: Iterable[Path]) -> tuple[_Version, ...]:
    """Each file with its version; None where it is not there."""
    found: list[_Version] = []
    for path in paths:
        try:
            stat = path.stat()
            found.append((path, (stat.st_ino, stat.st_mtime_ns, stat.st_size)))
        except OSError:
            found.append((path, None))
    return tuple(found)


# A simulated site answers many messages in one process, and short rounds are of many messages.
@lru_cache(maxsize=16)
def _split_rows(version: _Version, name: str, config: ProtocolConfig, seed: int) -> pd.DataFrame:
    """The manifest's rows as of the site of that name, each with a split."""
    rows = load_manifest(version[0])
    return fill_splits(rows.assign(site=rows["site"].fillna(name)), config, seed)


@lru_cache(maxsize=16)
def _opened(folder: Path, versions: tuple[_Version, ...]) -> ClipStore:
    return open_stores(folder)
