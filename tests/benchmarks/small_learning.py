"""A learning benchmark of one draw that takes seconds: to be run, killed and run again.

``python -m tests.benchmarks.small_learning FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from benchmarks.learning import run
from benchmarks.learning_recipe import Recipe, recipe_of

#: One labelled patient a site, which is six, is as few as the floor's cross-validation takes.
TABLES = {
    "drawn": {
        "draws": 1, "first_seed": 7, "patients": 4, "labelled": 3, "test_patients": 3, "few": 0.34,
        "objective": "cells", "other_draws": 1, "every_draws": 1, "ablation_draws": 0,
        "ceiling_hospitals": 1, "ceiling_patients": 1, "ceiling_parts": 2,
    },
    "plan": {
        "data": {"size": 32, "frames": 4, "test_windows": 1},
        "model": {"patch": 8},
        "federation": {"min_sites": 6},
        "pretrain": {
            "rounds": 6, "batch_size": 4, "share_decoder": True, "watch_patients": 0,
            "probe_patients": 0,
        },
        "finetune": {"tasks": ["ef"], "rounds": 2, "local_steps": 1, "batch_size": 4},
        "machine": {"device": "cpu"},
    },
    "cells": {"cell": 4, "rounds": 1},
    "latent": {"target": "latent", "rounds": 2, "teacher_rounds": 1},
    "ceiling": {"rounds": 1, "local_steps": 0, "local_epochs": 1},
}  # fmt: skip


def small_recipe() -> Recipe:
    """All arms but the ablation, as small as they can be."""
    return recipe_of(TABLES)


def train_small(folder: Path) -> pd.DataFrame:
    """Train in a folder, or go on there; returns the table."""
    return run(small_recipe(), folder, workers=1)


if __name__ == "__main__":
    print(train_small(Path(sys.argv[1])).to_string())
