"""A published checkpoint as a folder of ours: safetensors and a card, whole or not there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from echofm_core.models.checkpoints.card import card
from echofm_core.models.checkpoints.convert import Conversion, convert
from echofm_core.models.checkpoints.files import Source, read_source
from echofm_core.models.checkpoints.wish import Wish
from echofm_core.models.saved import save_model
from echofm_core.runtime.errors import CheckpointError
from echofm_core.runtime.files import whole_folder


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Imported:
    """What was written.

    Attributes:
        conversion: The weights and how they came about.
        source: What was read.
        digest: Of the weights.
    """

    conversion: Conversion
    source: Source
    digest: str


def import_checkpoint(
    path: Path, out: Path, wish: Wish, *, ignore_config: bool = False
) -> Imported:
    """Read a public checkpoint, check every tensor, and write it as ours.

    The folder holds ``model.safetensors``, whose header says which model it is, and ``README.md``.

    Args:
        path: A file, a sharded checkpoint's index, or a folder (Hugging Face, ``accelerate``).
        out: Folder to make; it may not be there yet, or must be empty.
        wish: What the result shall be.
        ignore_config: Do not look at a ``config.json`` beside the weights.

    Raises:
        CheckpointError: The checkpoint cannot be imported, or the folder is in use.
        PlanError: The wished-for pixels or frames cannot be cut into its patches.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out} is there already; choose another --out, or remove it.")
    source = read_source(path, with_config=not ignore_config)
    conversion = convert(source, wish)
    with whole_folder(out) as partial:
        about = {"layout": conversion.layout.value, "source_sha256": json.dumps(source.files)}
        name = save_model(partial, conversion.arrays, conversion.plan, tasks=(), more=about)
        (partial / "README.md").write_text(
            card(conversion, source, name, out.name), encoding="utf-8"
        )
    return Imported(conversion=conversion, source=source, digest=name)
