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
    places = (*path.glob("arms/*"), *path.glob("seed-*/arms/*"), *path.glob("*/seed-*/arms/*"))
    if held := sorted(str(place) for place in places if (place / "model" / WEIGHTS).is_file()):
        raise CheckpointError(
            f"{path} is of a study, which has a model for each training; give the folder of one, "
            f"such as {held[0]}."
        )
    raise CheckpointError(
        f"there is no model and there are no weights at {path}; give a {WEIGHTS}, the folder that "
        "holds it (`echofm model import` writes one), or a run folder."
    )
