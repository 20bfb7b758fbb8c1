"""The workloads that the simulators are measured on: FedAvg over all sites.

Compared over 10 sites x 5 rounds: ``small``, a CNN of about 136 k parameters, two SGD steps a site
and round; ``wire``, 22 M parameters in the shapes of a ViT-S with trivial compute, so that what is
measured is the framework: nobody imports torch for it who does not need it, the plain loop
included. ``tiny``, about 1,100 parameters with the same trivial compute, is for many sites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

SITES, ROUNDS = 10, 5
Arrays = dict[str, NDArray[np.float32]]


def cnn() -> nn.Module:
    """About 136 k parameters for 28 x 28 grey pictures."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 6 * 6, 112), nn.ReLU(), nn.Linear(112, 10),
        )  # fmt: skip


def start(name: str) -> Arrays:
    """Global weights to start from, under the names of one parameter group."""
    if name == "small":
        return {
            f"encoder.{key}": value.detach().numpy().copy()
            for key, value in cnn().named_parameters()
        }
    rng = np.random.default_rng(0)
    if name == "tiny":
        tiny = {"stem": (32, 16), "body": (16, 32), "bias": (32,), "head": (4, 16)}
        return {f"encoder.{key}": rng.random(shape, np.float32) for key, shape in tiny.items()}
    shapes = {"embed": (384, 768), "norm": (384,)}
    for block in range(12):
        shapes |= {
            f"{block}.qkv": (1152, 384), f"{block}.proj": (384, 384),
            f"{block}.fc1": (1536, 384), f"{block}.fc2": (384, 1536), f"{block}.bias": (384,),
        }  # fmt: skip
    shapes["head"] = (1000, 384)
    return {f"encoder.{key}": rng.random(shape, np.float32) for key, shape in shapes.items()}


def train(name: str, arrays: Arrays, site: int) -> Arrays:
    """One site's round: two SGD steps, or a copy that is moved by a constant."""
    if name != "small":
        return {key: value + np.float32(0.001 * (site + 1)) for key, value in arrays.items()}
    import torch

    torch.set_num_threads(1)
    model = cnn()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(np.array(arrays[f"encoder.{key}"])))
    generator = torch.Generator().manual_seed(site)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        pictures = torch.randn(32, 1, 28, 28, generator=generator)
        labels = torch.randint(10, (32,), generator=generator)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pictures), labels).backward()
        optimizer.step()
    return {f"encoder.{key}": value.detach().numpy() for key, value in model.named_parameters()}
