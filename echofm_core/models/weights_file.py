"""Where a model's weights lie: found without loading anything heavy."""

from pathlib import Path

from echofm_core.runtime.errors import CheckpointError

WEIGHTS = "model.safetensors"


def find_weights(path: Path) -> Path:
    """The weights file at a path: the file, in its folder, or in a run folder.

    Raises:
        CheckpointError: There is none.
    """
    for found in (path, path / WEIGHTS, path / "model" / WEIGHTS):
        if found.is_file():
            return found
    raise CheckpointError(
        f"there is no model and there are no weights at {path}; give a {WEIGHTS}, the folder that "
        "holds it (`echofm model import` writes one), or a run folder."
    )
