"""A published checkpoint as a folder of ours: safetensors and a card, whole or not there."""

import json
from collections.abc import Mapping
from pathlib import Path

from echofm_core.data.config import DataConfig
from echofm_core.data.windows import MEAN, SD
from echofm_core.models.checkpoints.convert import Conversion, convert
from echofm_core.models.checkpoints.files import read_source
from echofm_core.models.checkpoints.layouts import Layout
from echofm_core.models.config import ImportOptions, InputScale, ModelConfig
from echofm_core.models.patches import PatchGrid
from echofm_core.models.saved import save_model
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.files import check_place, whole_folder

LICENCE = (
    "**Mind the licence.** The public VideoMAE weights are CC BY-NC 4.0: attribution, no "
    "commercial use, and what is trained from them is bound likewise. The released Echo-Vision-FM "
    "weights started from those and state no licence of their own."
)

_ORIGINS = {
    Layout.ORIGINAL: "VideoMAE, names of the original repository",
    Layout.HUGGING_FACE: "VideoMAE, Hugging Face names",
    Layout.ECHO_VISION_FM: "Echo-Vision-FM (a Hugging Face VideoMAE without a last norm)",
}


def card(conversion: Conversion, files: Mapping[str, str], digest: str, folder: str) -> str:
    """Markdown card of weights with this digest, in a folder of this name.

    ``files``: name -> SHA-256 of each that they came from.
    """
    parts = [
        "# Imported weights",
        f"{_ORIGINS[conversion.layout]}.",
        LICENCE,
        "## Source",
        "\n".join(f"- `{name}`: SHA-256 `{of}`" for name, of in files.items()),
        "## What was done",
        "\n".join(f"- {line}" for line in steps(conversion)),
        "## Tensors",
        f"{conversion.used} used, {len(conversion.ignored)} not.",
        "\n".join(f"- `{name}`: {why}" for name, why in conversion.ignored.items()),
        "## Use",
        f"`model.safetensors`, weights digest `{digest}`. In a plan:",
        f"```toml\n{plan_lines(conversion.plan.model, conversion.plan.data, folder)}```",
        "Not a medical device.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def steps(conversion: Conversion) -> list[str]:
    """One sentence for each thing that was done to the weights."""
    decoder = any(name.startswith("decoder.") for name in conversion.arrays)
    return [
        _folding(conversion.channels, conversion.input),
        "Queries, keys and values are one map, with the bias (q, 0, v); both were checked to be "
        "there.",
        _positions(conversion.plan.model, conversion.plan.data),
        "The encoder ends with the checkpoint's LayerNorm."
        if conversion.plan.model.final_norm
        else "The checkpoint has no LayerNorm after the encoder, so the model has none either.",
        "The decoder is here too; it predicts the mean of the channels. It is used where "
        "pre-training shares it (`pretrain.share_decoder`) or runs at one institution."
        if decoder
        else "No decoder was taken over: pre-training starts one anew.",
    ]


def _folding(channels: int, scale: InputScale) -> str:
    before = "ImageNet's mean and deviation" if scale is InputScale.IMAGENET else "[0, 1] as it is"
    return (
        f"{channels} input channels were summed into one, and the checkpoint's input scale "
        f"({before}) was folded into weight and bias: on grey video, normalised as (x - {MEAN}) / "
        f"{SD}, the patch embedding gives what the checkpoint's gives on its own input."
    )


def _positions(model: ModelConfig, data: DataConfig) -> str:
    """How the positions on this grid come about."""
    origin, grid = model.position_grid, PatchGrid.of(model, data).shape
    words = f"Positions are the fixed sine-cosine codes of {_sizes(origin)} tokens"
    if origin == grid:
        return f"{words}, as they were trained."
    return f"{words}, interpolated between the centres of tokens to {_sizes(grid)}."


def _sizes(grid: tuple[int, ...]) -> str:
    return " x ".join(map(str, grid))


def plan_lines(model: ModelConfig, data: DataConfig, folder: str) -> str:
    """The lines of a plan that starts from the weights in a folder."""
    keys = {"size", "patch", "tubelet", "final_norm", "position_grid"}
    tables: Mapping[str, Mapping[str, object]] = {
        "data": {"size": data.size, "frames": data.frames},
        "model": model.model_dump(mode="json", include=keys),
        "machine": {"start": folder},
    }
    # Numbers, truths, strings and lists of numbers are written alike in JSON and TOML.
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in tables.items()
    )


def import_checkpoint(
    path: Path, out: Path, options: ImportOptions, *, ignore_config: bool = False
) -> tuple[Conversion, str]:
    """Read a public checkpoint, check every tensor, and write it as ours; weights and their digest.

    The folder holds ``model.safetensors``, whose header says which model it is, and ``README.md``.

    Args:
        path: A file, a sharded checkpoint's index, or a folder (Hugging Face, ``accelerate``).
        out: Folder to make; it may not be there yet, or must be empty.
        ignore_config: Do not read a ``config.json`` beside the weights.

    Raises:
        CheckpointError: The checkpoint cannot be imported, or the folder is in use.
        PlanError: The wanted pixels or frames cannot be cut into its patches.
        OutputError: The folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} is there already; choose another --out, or remove it.")
    check_place(out, folder=True)
    source = read_source(path, with_config=not ignore_config)
    conversion = convert(source, options)
    with whole_folder(out) as partial:
        about = {"layout": conversion.layout.value, "source_sha256": json.dumps(source.files)}
        name = save_model(partial, conversion.arrays, conversion.plan, tasks=(), more=about)
        text = card(conversion, source.files, name, out.name)
        (partial / "README.md").write_text(text, encoding="utf-8")
    return conversion, name
