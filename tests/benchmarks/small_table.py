"""A learning table of one seed and two arms that takes seconds: to be run, killed and run again.

``python -m tests.benchmarks.small_table FOLDER``
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from benchmarks.learning import Scale, run
from benchmarks.learning_arms import Arm, Start
from benchmarks.learning_data import Phantoms
from echofm_core.models.config import StfNetForm
from echofm_core.plan.load import plan_from_mapping


def train_small_table(folder: Path) -> pd.DataFrame:
    """Train in a folder, or go on there; returns the scores."""
    return run(_scale(), 1, folder, workers=1)[1]


def _arms(seeds: Iterable[int]) -> list[Arm]:
    form = StfNetForm.MEAN_POOL
    return [Arm(seed=seed, start=start, form=form) for seed in seeds for start in Start]


def _scale() -> Scale:
    plan = {
        "data": {"size": 32, "frames": 4, "test_windows": 1},
        "pretrain": {"rounds": 2},
        "finetune": {"rounds": 4, "local_epochs": 1},
        "evaluation": {"bootstrap": 100},
    }
    return Scale(
        arms=_arms,
        phantoms=Phantoms(echonet_dynamic=8, tmed2=8, seed=3),
        recipe=plan_from_mapping(plan, "of a test"),
    )


if __name__ == "__main__":
    train_small_table(Path(sys.argv[1]))
