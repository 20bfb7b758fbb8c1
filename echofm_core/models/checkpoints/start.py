"""Training that begins with weights on disk: the plan names them by their digest."""

from collections.abc import Collection
from pathlib import Path

from echofm_core.contract import ENCODER, Weights, group_of
from echofm_core.models import weights as files
from echofm_core.models.patches import PatchGrid
from echofm_core.models.saved import WEIGHTS
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PlanError


def pin_start(plan: Plan) -> Plan:
    """The plan with the digest of the weights in ``machine.start`` as ``model.start``.

    A plan that has the digest already and whose folder is gone stays as it is, so that a finished
    run can be read anywhere.

    Raises:
        CheckpointError: The folder holds no weights, or weights of another encoder.
        PlanError: The plan names other weights.
    """
    if not plan.machine.start or (plan.model.start and not Path(plan.machine.start).exists()):
        return plan
    name = check_start(Path(plan.machine.start), plan)
    if plan.model.start not in ("", name):
        raise PlanError(
            f"the plan starts from weights {plan.model.start[:12]}, but machine.start holds "
            f"{name[:12]}; give the folder that is meant, or remove model.start."
        )
    model = plan.model.model_copy(update={"start": name})
    return plan.model_copy(update={"model": model})


def start_weights(plan: Plan, groups: Collection[str] = (ENCODER,)) -> Weights:
    """Arrays of these groups that training starts from; empty where the plan names none.

    Raises:
        CheckpointError: They are not there, or are others than the plan names.
    """
    if not plan.model.start:
        return {}
    if not plan.machine.start:
        raise CheckpointError(
            f"the plan starts from weights {plan.model.start[:12]}; say where they lie with "
            "machine.start."
        )
    arrays = files.load(find_start(Path(plan.machine.start)))
    if digest(arrays) != plan.model.start:
        raise CheckpointError(
            f"the weights in {plan.machine.start} are not those that the plan starts from "
            f"({plan.model.start[:12]}); import them again."
        )
    return {name: array for name, array in arrays.items() if group_of(name) in groups}


def check_start(path: Path, plan: Plan) -> str:
    """Digest of weights, after a look at whether a plan's encoder can begin with them.

    Positions are no weights: an encoder with others would load and read nonsense.

    Args:
        path: As of :func:`find_start`.
        plan: What shall be trained.

    Raises:
        CheckpointError: No weights, no word about how they were made, or another encoder's.
    """
    file = find_start(path)
    header = files.load_metadata(file)
    try:
        theirs, name = plan_from_json(header["plan"], f"of {file}"), header["digest"]
    except (KeyError, PlanError):
        raise CheckpointError(
            f"weights file {file} does not say how it was made; give what `echofm model import` "
            "or a run of this version wrote."
        ) from None
    ours, made = _encoder(plan), _encoder(theirs)
    differ = [
        f"model.{key} = {made[key]}, the plan {ours[key]}" for key in ours if ours[key] != made[key]
    ]
    if differ:
        raise CheckpointError(f"weights file {file} has {'; '.join(differ)}: change the plan.")
    return name


def find_start(path: Path) -> Path:
    """The weights file at a path: itself, in a model folder, or in a run folder.

    Raises:
        CheckpointError: There is none.
    """
    for place in (path, path / WEIGHTS, path / "model" / WEIGHTS):
        if place.is_file():
            return place
    raise CheckpointError(f"there are no weights at {path}; write them with `echofm model import`.")


def _encoder(plan: Plan) -> dict[str, object]:
    """What must agree for an encoder's weights to mean the same."""
    model = plan.model
    grid = model.position_grid or PatchGrid.of(model, plan.data).shape
    return {
        "size": model.size.value,
        "patch": model.patch,
        "tubelet": model.tubelet,
        "final_norm": model.final_norm,
        "position_grid": list(grid),
    }
