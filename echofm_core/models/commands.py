"""`echofm model`: what a model is made of, and public weights made ours.

Heavy imports stay inside the functions.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echofm_core.contract import DECODER, ENCODER, HEADS, STF_NET
from echofm_core.models.config import ImportOptions, InputScale, ModelSize, StfNetForm
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.preflight import masking_notes

if TYPE_CHECKING:
    from rich.table import Table

    from echofm_core.models.build import Anatomy


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
    frames: Annotated[
        int | None, typer.Option(help="Frames of your windows; default: as it was trained.")
    ] = None,
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
    from echofm_core.models.checkpoints import importer
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
    conversion, digest = importer.import_checkpoint(file, out, options, ignore_config=ignore_config)
    used, unused = conversion.used, len(conversion.ignored)
    console.print(
        f"{file.name}: {conversion.layout}, {conversion.plan.model.size} encoder; "
        f"{used} of {used + unused} tensors used"
    )
    for why, count in Counter(conversion.ignored.values()).items():
        console.print(f"- {count} not used: {why}")
    for line in importer.steps(conversion):
        console.print(f"- {line}")
    console.print(importer.LICENCE.replace("**", ""))
    console.print(f"{out} holds weights {digest[:12]}; in a plan:\n")
    typer.echo(importer.plan_lines(conversion.plan.model, conversion.plan.data, str(out)))


model = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")
model.command("import")(import_model)


def register(app: typer.Typer) -> None:
    """Add this room's sub-commands."""
    app.add_typer(model, name="model")


@model.callback()
def show(
    context: typer.Context,
    size: Annotated[ModelSize, typer.Option(help="Size of the encoder.")] = ModelSize.BASE,
    stf_net: Annotated[StfNetForm, typer.Option(help="Fusion network.")] = StfNetForm.COMPACT,
    pixels: Annotated[int, typer.Option(help="Side of a frame.")] = 224,
    frames: Annotated[int, typer.Option(help="Frames of a window.")] = 16,
    patch: Annotated[int, typer.Option(help="Side of a patch, in pixels.")] = 16,
    tubelet: Annotated[int, typer.Option(help="Frames of a patch.")] = 2,
) -> None:
    """Print what a model is made of: parameters, tokens, and what travels each round.

    Examples: `echofm model --size base`; `echofm model --size tiny --pixels 64 --patch 8`.
    """
    if context.invoked_subcommand:
        return
    from echofm_core.models.build import anatomy_of
    from echofm_core.runtime.console import console

    plan = plan_from_mapping(
        {
            "data": {"size": pixels, "frames": frames},
            "model": {"size": size, "stf_net": stf_net, "patch": patch, "tubelet": tubelet},
        },
        "of these options",
    )
    anatomy = anatomy_of(plan)
    console.print(_groups_table(anatomy, size, stf_net))
    console.print(_forms_table(anatomy))
    grid, seen = anatomy.grid, anatomy.grid.slots * (anatomy.grid.positions - anatomy.hidden)
    console.print(f"input    (B, {frames}, 1, {pixels}, {pixels}) grey")
    console.print(
        f"tokens   {grid.slots} x {grid.rows} x {grid.cols} = {grid.tokens}, "
        f"each {grid.tubelet} x {grid.patch} x {grid.patch} pixels"
    )
    console.print(
        f"hidden   {plan.pretrain.mask_ratio:.0%}: {anatomy.hidden} of {grid.positions} positions "
        f"in each of {grid.slots} slots; the encoder sees {seen} tokens"
    )
    for note in masking_notes(plan):
        console.print(f"warning: {note}", markup=False)


def _groups_table(anatomy: Anatomy, size: ModelSize, stf_net: StfNetForm) -> Table:
    """Parameters and payload of each group, and of what each phase sends by default."""
    from rich.table import Table

    groups = {name: anatomy.groups.get(name, 0) for name in (ENCODER, STF_NET, HEADS, DECODER)}
    table = Table("group", title=f"{size} encoder, {stf_net} STF-Net", title_justify="left")
    for heading in ("parameters", "fp32 MB", "fp16 MB"):
        table.add_column(heading, justify="right")
    notes = {HEADS: "one head a task", DECODER: "stays at the site"}
    for name, parameters in groups.items():
        note = f" ({notes[name]})" if name in notes else ""
        table.add_row(name + note, *_sizes(parameters))
    table.add_section()
    table.add_row("sent in pre-training", *_sizes(groups[ENCODER]))
    trained = {
        "linear": groups[HEADS],
        "stf_probe": groups[HEADS] + groups[STF_NET],
        "lora, rank 8": groups[HEADS] + groups[STF_NET] + anatomy.adapters,
        "full": sum(groups.values()) - groups[DECODER],
    }
    for mode, parameters in trained.items():
        table.add_row(f"sent in fine-tuning, {mode}", *_sizes(parameters))
    return table


def _sizes(parameters: int) -> tuple[str, str, str]:
    """A count in millions, and its payload in MB (10^6 bytes) at four and at two bytes each."""
    millions = parameters / 1e6
    return f"{millions:.2f} M", f"{4 * millions:.1f}", f"{2 * millions:.1f}"


def _forms_table(anatomy: Anatomy) -> Table:
    """Every form of STF-Net beside the released one."""
    from rich.table import Table

    table = Table("STF-Net", title="Forms of STF-Net at this width and grid", title_justify="left")
    table.add_column("parameters", justify="right")
    rows = (
        ("as published, before correction", StfNetForm.PUBLISHED),  # which changes no parameter
        ("published, axes and norms corrected (these hold no weights)", StfNetForm.PUBLISHED),
        ("compact (default)", StfNetForm.COMPACT),
        ("mean_pool (none: for comparison)", StfNetForm.MEAN_POOL),
        ("bag (attention over frames encoded one by one)", StfNetForm.BAG),
    )
    for name, form in rows:
        table.add_row(name, f"{anatomy.forms[form] / 1e6:.1f} M")
    return table
