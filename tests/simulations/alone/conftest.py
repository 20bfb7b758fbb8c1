"""A small institution on disk: discs that beat, as AVI in EchoNet-Dynamic's layout, and a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.files import write_avi
from tests.training.site import beating_disc

PLAN = """
name = "discs"
seed = 3
[data]
size = 32
frames = 4
window_seconds = 0.4
test_windows = 2
[model]
patch = 8
[pretrain]
rounds = 3
batch_size = 8
[finetune]
rounds = 4
local_epochs = 1
batch_size = 8
learning_rate = 1e-3
tasks = ["ef", "edv", "reduced_ef"]
[evaluation]
bootstrap = 100
[machine]
roots = ["data"]
cache = "cache"
device = "cpu"
"""
#: Patients by split, one video each.
SPLITS = ["TRAIN"] * 10 + ["VAL"] * 4 + ["TEST"] * 6


def write_home(folder: Path) -> Path:
    """Fill a folder with ``data/`` and ``plan.toml``."""
    (folder / "data/Videos").mkdir(parents=True)
    rows = ["FileName,EF,ESV,EDV,Split"]
    for number, split in enumerate(SPLITS):
        ef = 25.0 + 50 * (number * 7 % 20) / 20
        write_avi(folder / f"data/Videos/0X{number}.avi", beating_disc(ef, number), fps=40)
        rows.append(f"0X{number},{ef},{100 - ef},100,{split}")
    (folder / "data/FileList.csv").write_text("\n".join(rows) + "\n")
    (folder / "plan.toml").write_text(PLAN)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Folder with ``data/`` and ``plan.toml``."""
    return write_home(tmp_path)
