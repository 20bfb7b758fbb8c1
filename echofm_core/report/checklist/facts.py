"""The recorded facts of a run that answers are made of; nothing else is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import pandas as pd

from echofm_core.contract import group_of
from echofm_core.data.manifest import Split, load_manifest
from echofm_core.evaluation.model_names import model_order
from echofm_core.evaluation.score_table import ScoreTable
from echofm_core.pages.grid import Grid
from echofm_core.plan.document import Plan
from echofm_core.report.run_files import RunFiles
from echofm_core.report.stress import read_stress
from echofm_core.report.words import Words, words_of
from echofm_core.runtime import array_files
from echofm_core.runtime.errors import CheckpointError, ManifestError
from echofm_core.runtime.names import EVERY_SITE
from echofm_core.tasks import Task

#: How splits are written, in the order shown.
SPLITS = {Split.TRAIN: "training", Split.VALIDATION: "validation", Split.TEST: "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a run folder records.

    Attributes:
        run: Its files.
        plan: None where it cannot be read: its defaults are no facts.
        manifest: A row a clip; empty where it is not there, as of a run between hospitals.
        parameters: Parameter group (heads as one) -> parameters of the shipped model; may be empty.
        stress: Rows of ``stress.csv``; may be empty.
        words: Its sentences.
        scores: Its scores, by key.
        model: Name of the model that it is about; empty where nothing was tested.
        calibration, subgroups: Tables of its page.
    """

    run: RunFiles
    plan: Plan | None
    manifest: pd.DataFrame
    parameters: Mapping[str, int]
    stress: pd.DataFrame
    words: Words
    scores: ScoreTable
    model: str
    calibration: Grid | None
    subgroups: Grid | None

    @property
    def synthetic(self) -> bool:
        """Whether the data are simulated."""
        return bool(self.run.summary.get("synthetic"))

    @property
    def few(self) -> int:
        """Patients below which a group has no number, and a site is not judged."""
        return self.run.plan.evaluation.min_patients

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Planned tasks; none where there is no plan or no fine-tuning."""
        return self.plan.finetune.tasks if self.plan and self.plan.finetune.rounds else ()

    @property
    def federated(self) -> bool:
        """Whether several sites trained."""
        trained = self.run.sites[self.run.sites["split"] == Split.TRAIN.value]
        return trained["site"].nunique() > 1


def facts_of(run: RunFiles, calibration: Grid | None, subgroups: Grid | None) -> Facts:
    """The facts of a run folder; what is missing there is empty here.

    The tables are given, as they take long and a page has them.
    """
    few = run.plan.evaluation.min_patients
    return Facts(
        run=run,
        plan=None if "plan" in run.missing else run.plan,
        manifest=_manifest(run),
        parameters=_parameters(run),
        stress=read_stress(run.folder),
        words=words_of(run),
        scores=ScoreTable(run.scores, few, run.unseen),
        model=next(iter(model_order(run.scores["model"])), ""),
        calibration=calibration,
        subgroups=subgroups,
    )


def _manifest(run: RunFiles) -> pd.DataFrame:
    path = run.folder / "manifests" / f"{EVERY_SITE}.parquet"
    try:
        return load_manifest(path) if path.is_file() else pd.DataFrame()
    except ManifestError:
        return pd.DataFrame()


def _parameters(run: RunFiles) -> dict[str, int]:
    try:
        shapes = array_files.load_shapes(run.folder / "model" / "model.safetensors")
    except CheckpointError:
        return {}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        group = group_of(name).partition(".")[0]
        sizes[group] = sizes.get(group, 0) + prod(shape)
    return sizes
