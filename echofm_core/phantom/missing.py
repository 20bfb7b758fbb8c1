"""SYNTHETIC data of ``[machine.phantoms]``, written where a plan wants them and they are missing.

Hospitals lie in ``FOLDER/hospitals``, public layouts in ``FOLDER/public``.

The folder takes its name when it is whole, with :data:`RECIPE` in it, which says what was asked
for. A folder of that name with anything else in it is never touched.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from echofm_core.phantom.hospitals import HOSPITALS, SEALED, Hospital
from echofm_core.phantom.institutions import Layout, write_hospitals, write_institutions
from echofm_core.plan.complaints import unknown_word
from echofm_core.plan.phantoms import PhantomConfig
from echofm_core.runtime.console import console, progress
from echofm_core.runtime.errors import DataRootError, PlanError
from echofm_core.runtime.files import whole_folder, write_whole

RECIPE = "phantoms.json"


def write_missing(config: PhantomConfig, roots: Sequence[str], *, workers: int = 2) -> bool:
    """Write the folder of a plan's phantoms, if one of its roots is there and it is not.

    Args:
        config: What to write, and where: an absolute path.
        roots: Absolute ``machine.roots``.
        workers: Hospitals or layouts written at the same time; the files do not depend on it.

    Returns:
        Whether anything was written.

    Raises:
        PlanError: There is no such hospital or layout.
        DataRootError: The folder has other data.
    """
    folder = Path(config.folder).resolve()
    if not config.folder or not any(Path(root).resolve().is_relative_to(folder) for root in roots):
        return False
    hospitals = {item.name: item for item in (*HOSPITALS, SEALED)}
    known = [*hospitals, *(item.value for item in Layout)]
    for name in config.patients:
        if name not in known:
            unknown = unknown_word("hospital or layout", name, known)
            raise PlanError(f"machine.phantoms.patients: {unknown}.")
    recipe = _recipe(config, [one for name, one in hospitals.items() if name in config.patients])
    if folder.exists() and any(folder.iterdir()):
        _check(folder, recipe)
        return False
    with (
        progress("writing SYNTHETIC data", sum(config.patients.values())) as meter,
        whole_folder(folder) as partial,
    ):
        write_institutions(
            partial / "public",
            {item: config.patients.get(item.value, 0) for item in Layout},
            seed=config.seed,
            errors=False,
            meter=meter,
            workers=workers,
        )
        write_hospitals(
            partial / "hospitals",
            [item for name, item in hospitals.items() if name in config.patients],
            config.patients,
            seed=config.seed,
            meter=meter,
            workers=workers,
        )
        write_whole(partial / RECIPE, recipe.encode())
    console.print(f"SYNTHETIC data: {folder}", markup=False)
    return True


def _recipe(config: PhantomConfig, hospitals: Sequence[Hospital]) -> str:
    """What decides the data, as JSON: an update that changes a hospital makes other data of it."""
    words = config.model_dump(mode="json", include={"patients", "seed"})
    if hospitals:
        words["hospitals_sha256"] = hashlib.sha256(repr(hospitals).encode()).hexdigest()
    return json.dumps(words)


def _check(folder: Path, recipe: str) -> None:
    """Refuse a folder that does not hold what the plan asks for."""
    try:
        kept = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    if kept != json.loads(recipe):
        what = "data that no plan has written" if kept is None else f"phantoms of {kept}"
        raise DataRootError(
            f"machine.phantoms wants {recipe} in {folder}, which holds {what}: remove that folder, "
            "or give machine.phantoms.folder and machine.roots another name."
        )
