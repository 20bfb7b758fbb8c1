"""Key layouts of published checkpoints, turned into our names, and every tensor's shape checked.

Queries, keys and values may still be apart.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from echofm_core.contract import group_of
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.patches import PatchGrid, position_code
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.text import many


class Layout(StrEnum):
    """Whose names a checkpoint has."""

    ORIGINAL = "original"
    HUGGING_FACE = "hugging_face"
    ECHO_VISION_FM = "echo_vision_fm"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Named:
    """A checkpoint under our names.

    Attributes:
        tensors: Our name -> tensor; queries, keys and values apart where theirs are.
        theirs: Our name -> their name.
        ignored: Their name -> why it is not used.
    """

    layout: Layout
    tensors: dict[str, Tensor]
    theirs: dict[str, str]
    ignored: dict[str, str]


#: What wrappers put before every name: DDP, torch.compile, and the Echo-Vision-FM predictor.
_WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod|model|backbone|pretrained_encoder)\.)+")

#: Their piece of a name -> ours, in this order.
_RENAMES = [
    (re.compile(pattern), ours)
    for pattern, ours in (
        # An encoder that was saved alone lacks the prefix that it has beside a decoder.
        (r"^(?=(?:patch_embed|blocks|norm|pos_embed)\b)", "encoder."),
        (r"^(?=(?:embeddings|encoder\.layer|layernorm)\.)", "videomae."),
        (r"^encoder\.patch_embed\.proj\.", "encoder.patch_embed."),
        (r"\.attn\.([qv])_bias$", r".attn.\1.bias"),
        (r"^videomae\.embeddings\.patch_embeddings\.projection\.", "encoder.patch_embed."),
        (r"^videomae\.encoder\.layer\.", "encoder.blocks."),
        (r"^videomae\.layernorm\.", "encoder.norm."),
        (r"^decoder\.decoder_layers\.", "decoder.blocks."),
        (r"\.attention\.attention\.([qv])_bias$", r".attn.\1.bias"),
        (r"\.attention\.attention\.(q)uery\.", r".attn.\1."),
        (r"\.attention\.attention\.(k)ey\.", r".attn.\1."),
        (r"\.attention\.attention\.(v)alue\.", r".attn.\1."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"^encoder_to_decoder\.", "decoder.bridge."),
        (r"^decoder\.head\.", "decoder.predict."),
        (r"^mask_token$", "decoder.mask_token.weight"),
    )
]

#: Names that a checkpoint may have after renaming.
_KNOWN = re.compile(
    r"encoder\.patch_embed\.(weight|bias)"
    r"|(encoder|decoder)\.(norm|blocks\.\d+\.(norm[12]|mlp\.fc[12]|attn\.(qkv|q|k|v|proj)))"
    r"\.(weight|bias)"
    r"|decoder\.(bridge\.weight|mask_token\.weight|predict\.(weight|bias))"
)

_POSITIONS = re.compile(r"(.+\.)?(pos_embed|position_embeddings)")

#: What is rightly left out, and why.
_UNUSED = [
    (re.compile(r"(head|classifier|regressor)\..+"), "head of another task"),
    (re.compile(r"fc_norm\..+"), "norm of the averaged tokens, above the encoder"),
    (re.compile(r"stff_net\..+"), "fusion network that was trained on scrambled axes"),
    (_POSITIONS, "fixed sine-cosine positions, which the model computes itself"),
]


def recognise(tensors: Mapping[str, Tensor]) -> Named:
    """Find out whose names these tensors have, and give ours.

    Raises:
        CheckpointError: Not VideoMAE, a tensor has no place in it or two share one, or positions
            were learned.
    """
    names: dict[str, str] = {}
    ignored: dict[str, str] = {}
    left: list[str] = []
    for theirs, tensor in tensors.items():
        ours = _rename(theirs)
        if _KNOWN.fullmatch(ours):
            if other := names.get(ours):
                raise CheckpointError(f"tensors {other} and {theirs} of the checkpoint are one.")
            names[ours] = theirs
        elif reason := next((why for kind, why in _UNUSED if kind.fullmatch(ours)), None):
            if _POSITIONS.fullmatch(ours):
                _check_positions(theirs, tensor)
            ignored[theirs] = reason
        else:
            left.append(theirs)
    if "encoder.patch_embed.weight" not in names:
        raise CheckpointError(
            "the checkpoint is not of a VideoMAE: it has neither `patch_embed.proj.weight` nor "
            f"`embeddings.patch_embeddings.projection.weight`, but {', '.join([*tensors][:5])} ..."
        )
    if left:
        raise CheckpointError(
            f"{many(len(left), 'tensor of the checkpoint has', 'tensors of the checkpoint have')} "
            "no place in a VideoMAE: "
            f"{', '.join(sorted(left)[:10])}{' ...' if len(left) > 10 else ''}; nothing is written."
        )
    return Named(
        layout=_layout(names, tensors),
        tensors={ours: tensors[theirs] for ours, theirs in names.items()},
        theirs=names,
        ignored=ignored,
    )


def _rename(name: str) -> str:
    name = _WRAPPERS.sub("", name)
    for theirs, ours in _RENAMES:
        name = theirs.sub(ours, name)
    return name


def _layout(names: Mapping[str, str], theirs: Iterable[str]) -> Layout:
    """Echo-Vision-FM loaded VideoMAE under a default configuration, which has no last norm."""
    if "patch_embed.proj." in names["encoder.patch_embed.weight"]:
        return Layout.ORIGINAL
    predictor = any("stff_net." in name or "pretrained_encoder." in name for name in theirs)
    if "encoder.norm.weight" not in names and (predictor or "decoder.bridge.weight" in names):
        return Layout.ECHO_VISION_FM
    return Layout.HUGGING_FACE


def _check_positions(name: str, tensor: Tensor) -> None:
    """Refuse positions that are not the fixed table."""
    if tensor.ndim == 3 and len(tensor) == 1:
        fixed = position_code(tensor.shape[1], tensor.shape[2])
        if fixed.shape == tensor.shape and torch.allclose(tensor.float(), fixed, atol=1e-2):
            return
    raise CheckpointError(
        f"tensor {name} of the checkpoint {tuple(tensor.shape)} is not VideoMAE's fixed "
        "sine-cosine table; learned positions cannot be imported."
    )


#: Complaints that a message spells out.
SHOWN = 5
Shape = tuple[int, ...]


def check_tensors(
    named: Named, model: MaskedAutoencoder, groups: Collection[str], channels: int
) -> None:
    """Refuse tensors that are missing, misshapen, or not finite floats.

    Of the parameter groups that are imported, into a model that may be on the meta device.
    ``channels`` are those of the checkpoint's input.

    Raises:
        CheckpointError: All that is wrong, in one sentence.
    """
    grid = model.encoder.patches
    given = {ours: item for ours, item in named.tensors.items() if group_of(ours) in groups}
    allowed: dict[str, Shape] = {}
    complaints: list[str] = []
    for name, parameter in model.named_parameters():
        if group_of(name) in groups:
            shapes = dict(_theirs(name, tuple(parameter.shape), grid, channels))
            allowed |= shapes
            # Attention comes in parts or as one; parts that lack others are its fusion's to see.
            if not name.endswith(".qkv.bias") and not any(item in given for item in shapes):
                complaints.append(f"{name} is missing")
    for name in sorted(set(given) - set(allowed)):
        complaints.append(f"{named.theirs[name]} has no place")
    for name, item in given.items():
        shape = tuple(item.shape)
        if shape != allowed.get(name, shape):
            complaints.append(f"{named.theirs[name]} has shape {shape}, expected {allowed[name]}")
    for name, item in given.items():
        # An ordinary array of floats, each of them finite?
        plain = item.layout is torch.strided and not item.is_meta and item.is_floating_point()
        if not (plain and item.isfinite().all()):
            complaints.append(f"{named.theirs[name]} is not of finite floats")
    if complaints:
        more = f"; and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
        raise CheckpointError(
            f"the checkpoint does not fit: {'; '.join(complaints[:SHOWN])}{more}; nothing is "
            "written."
        )


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
