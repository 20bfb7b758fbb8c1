"""A published checkpoint made ours: which model it is, and its weights under our names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echofm_core.contract import DECODER, ENCODER, group_of
from echofm_core.models.checkpoints.files import Source
from echofm_core.models.checkpoints.fold import (
    fold_patch_embedding,
    fold_prediction,
    fuse_attention,
)
from echofm_core.models.checkpoints.layouts import (
    Layout,
    Named,
    check_tensors,
    count_blocks,
    recognise,
)
from echofm_core.models.config import (
    ENCODER_SHAPES,
    EncoderShape,
    ImportOptions,
    InputScale,
    ModelSize,
)
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import CheckpointError

#: What every published VideoMAE saw, where its configuration says nothing.
TRAINED_FRAMES, TRAINED_PIXELS = 16, 224


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Conversion:
    """A checkpoint under our names.

    Attributes:
        plan: Its ``data`` and ``model`` tables describe the model.
        arrays: Full parameter name -> float32.
        channels: Of its input.
        used, ignored: How many of its tensors are in ``arrays``; name -> why it is not.
    """

    plan: Plan
    arrays: dict[str, NDArray[np.float32]]
    layout: Layout
    input: InputScale
    channels: int
    used: int
    ignored: dict[str, str]


def convert(source: Source, options: ImportOptions) -> Conversion:
    """Find out which model a checkpoint is, check every tensor, and give its weights our form.

    Raises:
        CheckpointError: It is no VideoMAE of a size we have, is not what was asked for, or a
            tensor is missing, left over, misshapen, not finite, or a bias that was dropped.
        PlanError: The wanted pixels or frames cannot be cut into its patches.
    """
    named = recognise(source.tensors)
    patch = named.tensors["encoder.patch_embed.weight"]
    if patch.ndim != 5 or patch.shape[3] != patch.shape[4]:
        raise CheckpointError(
            f"the checkpoint's patch embedding has shape {tuple(patch.shape)}; expected (width, "
            "channels, tubelet, patch, patch)."
        )
    size = _size(named, options.size)
    plan = _plan(named, size, options, source.config)
    channels = patch.shape[1]
    with torch.device("meta"):
        model = MaskedAutoencoder(plan.model, plan.data, plan.pretrain)
    shape = ENCODER_SHAPES[size]
    _check_config(source.config, shape)
    ignored = {**named.ignored, **_unfit_decoder(named, shape, source.config)}
    groups = {group_of(ours) for ours, theirs in named.theirs.items() if theirs not in ignored}
    check_tensors(named, model, groups, channels)
    trained = InputScale.UNIT if named.layout is Layout.ECHO_VISION_FM else InputScale.IMAGENET
    scale = options.input or trained
    kept = {ours: item for ours, item in named.tensors.items() if group_of(ours) in groups}
    fused = fuse_attention(kept, biased=bool(source.config.get("qv_bias", True)))
    return Conversion(
        plan=plan,
        arrays=_arrays(fused, scale, channels),
        layout=named.layout,
        input=scale,
        channels=channels,
        used=len(kept),
        ignored=ignored,
    )


def _size(named: Named, wanted: ModelSize | None) -> ModelSize:
    """The size whose width and depth the checkpoint has."""
    width = named.tensors["encoder.patch_embed.weight"].shape[0]
    depth = count_blocks(named.tensors, ENCODER)
    for size, shape in ENCODER_SHAPES.items():
        if (shape.width, shape.depth) == (width, depth) and wanted in (None, size):
            return size
    known = ", ".join(f"{size} {of.width} x {of.depth}" for size, of in ENCODER_SHAPES.items())
    raise CheckpointError(
        f"the checkpoint's encoder is {width} wide and {depth} blocks deep, which is not "
        f"{wanted or 'a size that we have'} ({known})."
    )


def _plan(named: Named, size: ModelSize, options: ImportOptions, config: Mapping[str, Any]) -> Plan:
    """A plan whose ``data`` and ``model`` tables describe the imported model."""
    _, _, tubelet, patch, _ = named.tensors["encoder.patch_embed.weight"].shape
    asked = {"patch": (options.patch, patch), "tubelet": (options.tubelet, tubelet)}
    for what, (wanted, found) in asked.items():
        if wanted not in (None, found):
            raise CheckpointError(
                f"the checkpoint's {what} is {found}, not {wanted}; patches cannot be resampled."
            )
    frames = options.trained_frames or _number(config, "num_frames") or TRAINED_FRAMES
    pixels = options.trained_pixels or _number(config, "image_size") or TRAINED_PIXELS
    if frames % tubelet or pixels % patch:
        raise CheckpointError(
            f"{frames} frames of {pixels} pixels, which the checkpoint is taken to have seen, "
            f"cannot be cut into its patches of {tubelet} x {patch} x {patch}."
        )
    model = {
        "size": size,
        "patch": patch,
        "tubelet": tubelet,
        "final_norm": "encoder.norm.weight" in named.tensors,
        "position_grid": (frames // tubelet, pixels // patch, pixels // patch),
    }
    data = {"size": options.pixels or pixels, "frames": options.frames or frames}
    return plan_from_mapping({"data": data, "model": model}, "of this import")


def _number(config: Mapping[str, Any], key: str) -> int | None:
    """A size in a configuration, which may be a pair of equal ones; None without one."""
    match value := config.get(key):
        case [int(first), int(second)] if first == second:
            return first
        case int() | None:
            return value
    raise CheckpointError(f"config.json beside the checkpoint has {key} = {value!r}.")


def _check_config(config: Mapping[str, Any], shape: EncoderShape) -> None:
    """Refuse what no tensor shows: another number of heads, another activation."""
    expected = {"num_attention_heads": shape.heads, "hidden_act": "gelu", "model_type": "videomae"}
    for key, ours in expected.items():
        if config.get(key, ours) != ours:
            raise CheckpointError(
                f"config.json beside the checkpoint says {key} = {config[key]!r}, the model has "
                f"{ours!r}; if the file is wrong, as that of the published small one is about its "
                "heads, give --ignore-config."
            )


def _unfit_decoder(named: Named, shape: EncoderShape, config: Mapping[str, Any]) -> dict[str, str]:
    """Tensors of a decoder that is not ours -> why; empty where it fits or there is none."""
    theirs = {ours: name for ours, name in named.theirs.items() if group_of(ours) == DECODER}
    bridge = named.tensors.get("decoder.bridge.weight")
    if bridge is None:
        return {}
    heads = config.get("decoder_num_attention_heads", shape.decoder_heads)
    found = (len(bridge), count_blocks(theirs, DECODER), heads)
    ours = (shape.decoder_width, shape.decoder_depth, shape.decoder_heads)
    if found == ours:
        return {}
    reason = "decoder of {} width, {} blocks and {} heads; ours has {}, {} and {}"
    return dict.fromkeys(theirs.values(), reason.format(*found, *ours))


def _arrays(
    tensors: dict[str, Tensor], scale: InputScale, channels: int
) -> dict[str, NDArray[np.float32]]:
    """Fold channels and normalisation, and give each tensor our shape and type."""
    done = dict(tensors)
    weight, bias = "encoder.patch_embed.weight", "encoder.patch_embed.bias"
    done[weight], done[bias] = fold_patch_embedding(done[weight], done[bias], scale)
    weight, bias = "decoder.predict.weight", "decoder.predict.bias"
    if weight in done:
        done[weight], done[bias] = fold_prediction(done[weight], done[bias], channels)
        done["decoder.mask_token.weight"] = done["decoder.mask_token.weight"][0]
    return {name: tensor.to(torch.float32).numpy() for name, tensor in sorted(done.items())}
