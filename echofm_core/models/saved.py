"""A fine-tuned model as it lies on disk: weights, and in their header the plan that made them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from echofm_core.contract import ENCODER, HEADS, STF_NET, Weights, group_of
from echofm_core.models import weights as files
from echofm_core.models.build import build_echo_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PlanError
from echofm_core.tasks import Task

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedModel:
    """A model that can predict.

    Attributes:
        model: On the CPU, in evaluation mode.
        plan: What it was trained by.
        tasks: Tasks whose heads saw a label; the other heads are as they were drawn.
        digest: SHA-256 of its weights.
    """

    model: EchoModel
    plan: Plan
    tasks: tuple[Task, ...]
    digest: str


def save_model(
    folder: Path,
    weights: Weights,
    plan: Plan,
    tasks: Iterable[Task],
    more: Mapping[str, str] | None = None,
) -> str:
    """Write ``model.safetensors`` into a folder, whole or not at all; returns the weights' digest.

    Args:
        folder: Made where it is missing.
        weights: By full parameter name.
        plan: Kept in the file's header.
        tasks: Tasks that were trained.
        more: Further strings for the header.
    """
    name = digest(weights)
    header = {
        "plan": plan.to_json(),
        "plan_hash": plan.digest(),
        "digest": name,
        "tasks": json.dumps(sorted(task.value for task in tasks)),
        **(more or {}),
    }
    files.save(weights, folder / WEIGHTS, header)
    return name


def load_model(path: Path) -> SavedModel:
    """Open a model for prediction.

    Args:
        path: The weights file, the folder that holds it, or a run folder.

    Raises:
        CheckpointError: Missing or damaged, changed since it was written, or an encoder alone.
    """
    file = find_weights(path)
    header, weights = files.load_metadata(file), files.load(file)
    try:
        plan, name = plan_from_json(header["plan"], f"of {file}"), header["digest"]
        tasks = tuple(Task(task) for task in json.loads(header["tasks"]))
    except (KeyError, ValueError, PlanError) as error:
        raise CheckpointError(
            f"weights file {file} does not say how it was made ({type(error).__name__}); use a "
            "model that this version of EchoFM Federated wrote."
        ) from None
    if digest(weights) != name:
        raise CheckpointError(f"weights file {file} was changed after it was written.")
    missing = {ENCODER, STF_NET} - {group_of(item) for item in weights}
    if STF_NET in missing and not dict(build_echo_model(plan).stf_net.named_parameters()):
        missing.discard(STF_NET)  # mean pooling has no weights
    if missing or not tasks:
        raise CheckpointError(
            f"weights file {file} holds no {sorted(missing) or 'trained task'}: it is of "
            "pre-training alone; fine-tune it first."
        )
    model = build_echo_model(plan)
    files.load_arrays(model, weights)
    trained = tuple(task for task in plan.finetune.tasks if task in tasks)
    return SavedModel(model=model.eval(), plan=plan, tasks=trained, digest=name)


def load_weights(path: Path) -> Weights:
    """Weights to begin with: of a weights file, a model folder or a run folder.

    Raises:
        CheckpointError: Missing or damaged.
    """
    return files.load(path if path.suffix == ".safetensors" else find_weights(path))


def trained_tasks(groups: Iterable[str]) -> tuple[Task, ...]:
    """Tasks of the heads among parameter groups such as ``heads.ef``."""
    prefix = f"{HEADS}."
    names = {group.removeprefix(prefix) for group in groups if group.startswith(prefix)}
    return tuple(task for task in Task if task.value in names)


def find_weights(path: Path) -> Path:
    """The weights file at a path: the file, in its folder, or in a run folder.

    Raises:
        CheckpointError: There is none.
    """
    places = [path] if path.is_file() else [path / WEIGHTS, path / "model" / WEIGHTS]
    for place in places:
        if place.is_file():
            return place
    raise CheckpointError(
        f"there is no model at {path}; give a {WEIGHTS}, the folder that holds it, or a run folder."
    )
