"""A federation benchmark of one seed that takes seconds: to be run, killed and run again.

``python -m tests.benchmarks.federation.small FOLDER``
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.federation.__main__ import run
from benchmarks.federation.figures import Figures
from benchmarks.federation.plans import Recipe, recipe_of
from benchmarks.federation.table import table_of

#: Of 12 patients at each hospital 6 are to test; the floor's cross-validation takes 5 to train on.
HOSPITALS = {"harbour": 12, "emergency": 12, "valley": 12}
PATIENTS = {**HOSPITALS, "tmed2": 16}
TABLES = {
    "plan": {
        "seed": 7,
        "study": {"seeds": 1},
        "data": {"size": 32, "frames": 4, "test_windows": 1},
        "model": {"patch": 16},
        "protocol": {"validation_fraction": 0, "test_fraction": 0.5},
        "pretrain": {"rounds": 0},
        "finetune": {"rounds": 2, "local_steps": 1, "batch_size": 2, "keep_optimizer": True},
        "federation": {"report_validation": False},
        "evaluation": {"bootstrap": 100, "min_patients": 2},
        "machine": {"device": "cpu", "phantoms": {"seed": 7, "patients": PATIENTS}},
    },
    "left_out": {
        "finetune": {"tasks": ["ef", "as_grade"]},
        "federation": {"min_sites": 3},
        "evaluation": {"few_shot": [0, 2, 6], "few_shot_rounds": 1},
        "study": {
            "methods": ["fedavg", "pooled", "local", "ensemble"],
            "vary": {"protocol.unseen": [["emergency"], ["valley"]]},
        },
    },
    "dealt": {
        "finetune": {"tasks": ["ef"]},
        "protocol": {"name": "dirichlet", "datasets": list(HOSPITALS), "clients": 2, "alpha": 1.0},
        "federation": {"min_sites": 2},
        "study": {"methods": ["fedavg", "fedprox", "scaffold"]},
    },
}  # fmt: skip


def small_recipe(folder: Path) -> Recipe:
    """All methods and questions, as small as they can be."""
    return recipe_of(TABLES, folder, workers=1)


def train_small(folder: Path) -> Figures:
    """Train in a folder, or go on there."""
    return run(small_recipe(folder))


if __name__ == "__main__":
    print(table_of(train_small(Path(sys.argv[1]))))
