"""Key layouts of published checkpoints, turned into our names; q, k and v may still be apart."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from echofm_core.models.patches import position_code
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
        layout: Whose names they were.
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
    """Find out whose names these are, and give ours.

    Args:
        tensors: As they were read.

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
