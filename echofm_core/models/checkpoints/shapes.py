"""Every tensor of a checkpoint against the model that it shall become."""

import re
from collections.abc import Collection, Iterable, Iterator

import torch
from torch import Tensor

from echofm_core.contract import group_of
from echofm_core.models.checkpoints.layouts import Named
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.patches import PatchGrid
from echofm_core.runtime.errors import CheckpointError

#: Complaints of one kind that a message spells out.
SHOWN = 5

Shape = tuple[int, ...]


def check_tensors(
    named: Named, model: MaskedAutoencoder, groups: Collection[str], channels: int
) -> None:
    """Refuse tensors that are missing, misshapen, or not finite floats.

    Args:
        named: The checkpoint under our names.
        model: What it shall become; on the meta device will do.
        groups: Parameter groups that are imported.
        channels: Input channels of the checkpoint.

    Raises:
        CheckpointError: All that is wrong, in one sentence.
    """
    grid = model.encoder.patches
    given = {ours: item for ours, item in named.tensors.items() if group_of(ours) in groups}
    allowed: dict[str, Shape] = {}
    missing: list[str] = []
    for name, parameter in model.named_parameters():
        if group_of(name) in groups:
            shapes = dict(_theirs(name, tuple(parameter.shape), grid, channels))
            allowed |= shapes
            # Attention comes in parts or as one; parts that lack others are its fusion's to see.
            if not name.endswith(".qkv.bias") and not any(item in given for item in shapes):
                missing.append(name)
    complaints = [
        *(f"{name} is missing" for name in missing),
        *(f"{named.theirs[ours]} has no place" for ours in sorted(set(given) - set(allowed))),
        *(
            f"{named.theirs[ours]} has shape {tuple(item.shape)}, expected {allowed[ours]}"
            for ours, item in given.items()
            if ours in allowed and tuple(item.shape) != allowed[ours]
        ),
        *(
            f"{named.theirs[ours]} is not of finite floats"
            for ours, item in given.items()
            if not _is_finite(item)
        ),
    ]
    if complaints:
        more = f"; and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
        raise CheckpointError(
            f"the checkpoint does not fit: {'; '.join(complaints[:SHOWN])}{more}; nothing is "
            "written."
        )


def _is_finite(item: Tensor) -> bool:
    """Is this an ordinary array of floats, each of them finite?"""
    plain = item.layout is torch.strided and not item.is_meta and item.is_floating_point()
    return plain and bool(item.isfinite().all())


def _theirs(name: str, shape: Shape, grid: PatchGrid, channels: int) -> Iterator[tuple[str, Shape]]:
    """Names and shapes that a parameter of ours may have in a checkpoint."""
    match name:
        case "encoder.patch_embed.weight":
            yield name, (shape[0], channels, grid.tubelet, grid.patch, grid.patch)
        case "decoder.predict.weight" | "decoder.predict.bias":
            yield name, (shape[0] * channels, *shape[1:])
        case "decoder.mask_token.weight":
            yield name, (1, *shape)
        case _:
            yield name, shape
    block, fused, kind = name.rpartition(".attn.qkv.")
    if fused:
        for letter in "qkv":
            yield f"{block}.attn.{letter}.{kind}", (shape[0] // 3, *shape[1:])


def count_blocks(names: Iterable[str], group: str) -> int:
    """Blocks of ``encoder`` or ``decoder``, by the highest number among our names."""
    found = (re.match(rf"{group}\.blocks\.(\d+)\.", name) for name in names)
    return max((int(match[1]) for match in found if match), default=-1) + 1
