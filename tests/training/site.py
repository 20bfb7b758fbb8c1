"""A small real site: discs that beat, as AVI files, through the real clip store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from echofm_core.data.config import DataConfig
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.store.build import build_store
from echofm_core.data.windows import ClipWindows
from echofm_core.models.config import ModelConfig
from echofm_core.plan.document import Plan
from echofm_core.privacy.config import Account, PrivacyConfig
from echofm_core.tasks import Task
from echofm_core.training.config import ExecutionConfig, FinetuneConfig, PretrainConfig
from echofm_core.training.steps.job import LocalContext
from tests.data.files import write_avi

DATA = DataConfig(size=32, frames=4, window_seconds=0.4, test_windows=2)
TASKS = (Task.EF, Task.EDV, Task.REDUCED_EF, Task.AS_GRADE, Task.VIEW)
PLAN = Plan(
    seed=3,
    data=DATA,
    model=ModelConfig(patch=8),
    pretrain=PretrainConfig(rounds=3, batch_size=8),
    finetune=FinetuneConfig(
        rounds=3, batch_size=8, local_epochs=1, tasks=TASKS, learning_rate=1e-3
    ),
)
#: 12 patients with two clips each. Patients 0 to 7 have an EF, 8 and 9 nothing, 10 and 11 a grade.
PATIENTS = 12


def beating_disc(ef: float, seed: int) -> np.ndarray:
    """24 frames (24, 32, 32) at 40 Hz of a dark disc on grey whose area falls by EF percent."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32] - 15.5
    phase = 2 * np.pi * np.arange(24) / 24
    radius = 12 * np.sqrt(1 - ef / 100 * (1 - np.cos(phase)) / 2)
    disc = np.hypot(x, y)[None] < radius[:, None, None]
    speckle = rng.integers(-15, 15, (24, 32, 32))
    return (np.where(disc, 40, 170) + speckle).astype(np.uint8)


def sector_of(clip: int) -> np.ndarray:
    """Bool (32, 32): all of it, without the patch at the top left, or without both at the top."""
    y, x = np.mgrid[:32, :32]
    left, right = y + x >= 19, y + (31 - x) >= 19
    return [np.ones((32, 32), bool), left, left & right][clip % 3]


def make_site(folder: Path) -> ClipWindows:
    """Write, decode and serve the clips of :data:`PATIENTS` patients."""
    rows: list[dict[str, object]] = []
    for clip in range(2 * PATIENTS):
        patient = clip // 2
        ef = 20.0 + 5 * patient
        frames = beating_disc(ef, clip) * sector_of(clip).astype(np.uint8)
        path = write_avi(folder / f"{clip}.avi", frames, fps=40)
        row: dict[str, object] = {
            "dataset": "echonet_dynamic",
            "site": "here",
            "patient_id": f"patient-{patient}",
            "clip_id": f"clip-{clip}",
            "path": str(path),
        }
        if patient < 8:
            row |= {"ef": ef, "edv": 100.0 + patient}
        elif patient >= 10:
            row["as_grade"] = patient - 9
        rows.append(row)
    manifest = manifest_from_rows(rows)
    return ClipWindows(build_store(manifest, folder / "store", DATA)[0], manifest, DATA)


def context(**changes: object) -> LocalContext:
    """Round 1 of 3 at the site; the machine's settings may be among the changes."""
    machine = {key: changes.pop(key) for key in ExecutionConfig.model_fields if key in changes}
    execution = ExecutionConfig.model_validate({"device": "cpu", **machine})
    return replace(
        LocalContext(seed=3, site="here", round=1, rounds=3, execution=execution),
        **changes,  # type: ignore[arg-type]
    )


def private(folder: Path, **privacy: object) -> LocalContext:
    """The same with DP-SGD, repeatable, and a state folder."""
    settings = {"kind": "local", "noise_multiplier": 1.0, "delta": 1e-3, "secure": False} | privacy
    return context(
        state=folder, account=Account(folder), privacy=PrivacyConfig.model_validate(settings)
    )


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    """Copy of all parameters."""
    return {name: item.detach().clone() for name, item in model.named_parameters()}


def changed(before: dict[str, torch.Tensor], model: nn.Module) -> set[str]:
    """Names of the parameters that are no longer bitwise the same."""
    return {name for name, item in model.named_parameters() if not torch.equal(before[name], item)}
