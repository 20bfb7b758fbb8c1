"""Small plans and random inputs for the tests of this folder."""

import torch
from torch import Tensor

from echofm_core.models.config import StfNetForm
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping

#: 8 frames of 32 x 32 in patches of 2 x 8 x 8: 4 slots of 4 x 4 positions.
FRAMES, SIZE, PATCH, TUBELET = 8, 32, 8, 2
GRID = (4, 4, 4)


def small_plan(form: StfNetForm = StfNetForm.COMPACT, seed: int = 3, **pretrain: object) -> Plan:
    values = {
        "seed": seed,
        "data": {"size": SIZE, "frames": FRAMES},
        "model": {"size": "tiny", "patch": PATCH, "tubelet": TUBELET, "stf_net": form},
        "pretrain": {"mask_ratio": 0.75, **pretrain},
        "finetune": {"local_epochs": 1, "tasks": ["ef", "reduced_ef", "as_grade"]},
    }
    return plan_from_mapping(values, "of a test")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def videos(batch: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, FRAMES, 1, SIZE, SIZE, generator=generator(seed))


def times(batch: int) -> Tensor:
    """Another frame rate in each sample."""
    rates = torch.linspace(0.5, 1.5, batch).unsqueeze(1)
    return torch.linspace(0, 1.3, FRAMES) * rates


def everywhere(batch: int) -> Tensor:
    return torch.ones(batch, SIZE, SIZE, dtype=torch.bool)


def sectors(batch: int) -> Tensor:
    """Squares at the bottom right, each smaller than the one before: 4 x 4 patches, 3 x 3, 2 x 2.

    One row and one column of pixels alone touch a sector's first row and column of patches.
    """
    sector = torch.zeros(batch, SIZE, SIZE, dtype=torch.bool)
    for sample in range(batch):
        first = PATCH * (sample % 3) + PATCH - 1
        sector[sample, first:, first:] = True
    return sector
