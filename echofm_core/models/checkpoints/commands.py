"""`echofm model import`: public weights made ours."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from echofm_core.models.checkpoints.options import ImportOptions, InputScale
from echofm_core.models.config import ModelSize

Checkpoint = Annotated[
    Path,
    typer.Argument(
        help="A .pt, .pth, .bin or .safetensors file, the index of a sharded one, or the folder of "
        "a Hugging Face model or of an `accelerate` checkpoint."
    ),
]
Scale = Annotated[
    InputScale | None,
    typer.Option(
        "--input",
        help="How its input was normalised: imagenet (default), or unit, [0, 1] as it is (default "
        "for Echo-Vision-FM).",
    ),
]


def import_model(
    file: Checkpoint,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    size: Annotated[
        ModelSize | None, typer.Option(help="Refuse another size; default: what it is.")
    ] = None,
    pixels: Annotated[
        int | None, typer.Option(help="Side of your frames; default: as it was trained.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames of your windows; likewise.")] = None,
    patch: Annotated[int | None, typer.Option(help="Refuse another patch, in pixels.")] = None,
    tubelet: Annotated[int | None, typer.Option(help="Refuse another tubelet, in frames.")] = None,
    scale: Scale = None,
    trained_pixels: Annotated[
        int | None, typer.Option(help="Side of the frames that it was trained on; default: 224.")
    ] = None,
    trained_frames: Annotated[
        int | None, typer.Option(help="Frames that it was trained on; default: 16.")
    ] = None,
    ignore_config: Annotated[
        bool, typer.Option("--ignore-config", help="Do not believe a config.json beside it.")
    ] = False,
) -> None:
    """Turn a public VideoMAE or Echo-Vision-FM checkpoint into weights that a plan starts from.

    Reads the original and the Hugging Face names. Every tensor is checked: shape, finiteness, none
    missing or left over, biases of queries and values truly there. Nothing in the file is run.

    For example:

    * `echofm model import videomae-base/ --out weights/videomae --pixels 112`
    * `echofm model import checkpoint.pth --out weights/videomae --size base`
    """
    from echofm_core.models.checkpoints.importer import (
        LICENCE,
        import_checkpoint,
        plan_lines,
        steps,
    )
    from echofm_core.runtime.console import console

    options = ImportOptions(
        size=size,
        patch=patch,
        tubelet=tubelet,
        pixels=pixels,
        frames=frames,
        trained_pixels=trained_pixels,
        trained_frames=trained_frames,
        input=scale,
    )
    done = import_checkpoint(file, out, options, ignore_config=ignore_config)
    conversion = done.conversion
    console.print(
        f"{file.name}: {conversion.layout}, {conversion.plan.model.size} encoder; "
        f"{conversion.used} of {len(done.source.tensors)} tensors used"
    )
    for why, count in Counter(conversion.ignored.values()).items():
        console.print(f"- {count} not used: {why}")
    for line in steps(conversion):
        console.print(f"- {line}")
    console.print(LICENCE.replace("**", ""))
    console.print(f"{out} holds weights {done.digest[:12]}; in a plan:\n")
    typer.echo(plan_lines(conversion.plan, str(out)))
