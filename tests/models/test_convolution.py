"""Gradients of convolutions in bf16 on a CPU, where memory that was never written is not zero."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from echofm_core.models.stf_compact import JointPathway
from echofm_core.models.stf_published import ResidualBottleneck

#: Largest difference of a gradient in bf16, of 8 bits, from that in fp32, over the largest.
NEAR = 0.3
SLOTS, SIDE, WIDTH = 2, 4, 128
FORMS = {
    "compact": (lambda: JointPathway((SLOTS, SIDE, SIDE), WIDTH), (8, SLOTS, SIDE * SIDE, WIDTH)),
    "published": (lambda: ResidualBottleneck(WIDTH, (3, 3, 3)), (8, WIDTH, SLOTS, SIDE, SIDE)),
}


def gradients(form: str, *, half: bool) -> list[torch.Tensor]:
    """Of the weights of the 3D convolutions of one pathway of STF-Net."""
    torch.manual_seed(0)
    build, shape = FORMS[form]
    pathway = build()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        out = pathway(torch.randn(shape))
    out.float().square().sum().backward()
    layers = [layer for layer in pathway.modules() if isinstance(layer, nn.Conv3d)]
    return [layer.weight.grad for layer in layers if layer.weight.grad is not None]


def worst(form: str) -> float:
    """Largest difference of all convolutions of a pathway."""
    pairs = zip(gradients(form, half=False), gradients(form, half=True), strict=True)
    return max(float((half - exact).abs().max() / exact.abs().max()) for exact, half in pairs)


@pytest.mark.parametrize("form", FORMS)
def test_what_was_in_memory_before_changes_no_gradient(form: str) -> None:
    """glibc fills what it hands out, so that a kernel that reads what it did not write is seen."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.models.test_convolution", form],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MALLOC_PERTURB_": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(found.stdout) < NEAR


if __name__ == "__main__":
    print(worst(sys.argv[1]))
