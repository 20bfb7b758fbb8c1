"""Weights on disk with, in their header, the plan that made them: to predict and to start from."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echofm_core.contract import ENCODER, HEADS, STF_NET, Weights, group_of
from echofm_core.data.config import DataConfig
from echofm_core.models.build import build_echo_model
from echofm_core.models.config import ModelConfig
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.patches import PatchGrid
from echofm_core.models.weights import load_arrays
from echofm_core.models.weights_file import WEIGHTS, find_weights
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.plan.machine import MachineConfig
from echofm_core.runtime import array_files as files
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, PlanError, refusing
from echofm_core.tasks import Task

#: How targets were standardised in models of earlier versions, where their plans name nothing else:
#: by the distribution of EchoNet-Dynamic (Ouyang 2020).
EARLIER_STANDARDISATION = {"ef": [55.8, 12.4], "esv": [3.57, 0.60], "edv": [4.41, 0.44]}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedModel:
    """A model that can predict.

    Attributes:
        model: On the CPU, in evaluation mode.
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

    The folder is made where it is missing. The file's header holds the plan, the tasks that were
    trained, and the strings of ``more``.
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
    """Open a model for prediction: its weights file, the folder that holds it, or a run folder.

    Raises:
        CheckpointError: Missing or damaged, changed since it was written, or an encoder alone.
    """
    file = find_weights(path)
    plan, name, tasks = _origin(file)
    weights = files.load(file)
    if digest(weights) != name:
        raise CheckpointError(f"weights file {file} was changed after it was written.")
    model = build_echo_model(plan)
    missing = {ENCODER, STF_NET} - {group_of(item) for item in weights}
    if not any(True for _ in model.stf_net.parameters()):
        missing.discard(STF_NET)  # mean pooling has no weights
    if missing or not tasks:
        raise CheckpointError(
            f"weights file {file} holds no {sorted(missing) or 'trained task'}: it is of "
            "pre-training alone; fine-tune it first."
        )
    load_arrays(model, weights)
    trained = tuple(task for task in plan.finetune.tasks if task in tasks)
    return SavedModel(model=model.eval(), plan=plan, tasks=trained, digest=name)


def load_weights(path: Path) -> Weights:
    """Weights to begin with: of a weights file, a model folder or a run folder.

    Raises:
        CheckpointError: Missing or damaged.
    """
    return files.load(find_weights(path))


def trained_tasks(groups: Iterable[str]) -> tuple[Task, ...]:
    """Tasks of the heads among parameter groups such as ``heads.ef``."""
    prefix = f"{HEADS}."
    names = {group.removeprefix(prefix) for group in groups if group.startswith(prefix)}
    return tuple(task for task in Task if task.value in names)


def _origin(file: Path) -> tuple[Plan, str, tuple[Task, ...]]:
    """What a weights file says of itself: its plan, its digest and the tasks that were trained.

    Raises:
        CheckpointError: It does not.
    """
    header = files.load_metadata(file)
    advice = "; give what `echofm model import` or a run of this version wrote"
    with refusing(f"weights file {file} does not say how it was made", CheckpointError, advice):
        plan = plan_from_mapping(_as_trained(json.loads(header["plan"])), f"of {file}")
        return plan, header["digest"], tuple(map(Task, json.loads(header["tasks"])))


def _as_trained(plan: dict[str, Any]) -> dict[str, Any]:
    """A saved plan with the standardisation of targets that its model was trained with."""
    tuning = plan.get("finetune", {})
    scaling = {**EARLIER_STANDARDISATION, **tuning.get("standardisation", {})}
    return {**plan, "finetune": {**tuning, "standardisation": scaling}}


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
    name = check_start(Path(plan.machine.start), plan.model, plan.data)
    if plan.model.start not in ("", name):
        raise PlanError(
            f"the plan starts from weights {plan.model.start[:12]}, but machine.start holds "
            f"{name[:12]}; give the folder that is meant, or remove model.start."
        )
    return plan.model_copy(update={"model": plan.model.model_copy(update={"start": name})})


def start_weights(
    model: ModelConfig, machine: MachineConfig, groups: Collection[str] = (ENCODER,)
) -> Weights:
    """Arrays of these groups that training starts from; empty where the plan names none.

    Raises:
        CheckpointError: They are not there, or are others than the plan names.
    """
    if not model.start:
        return {}
    if not machine.start:
        raise CheckpointError(
            f"the plan starts from weights {model.start[:12]}; say where they lie with "
            "machine.start."
        )
    arrays = load_weights(Path(machine.start))
    if digest(arrays) != model.start:
        raise CheckpointError(
            f"the weights in {machine.start} are not those that the plan starts from "
            f"({model.start[:12]}); import them again."
        )
    return {name: array for name, array in arrays.items() if group_of(name) in groups}


def check_start(path: Path, model: ModelConfig, data: DataConfig) -> str:
    """Digest of weights, after a check that a plan's encoder can begin with them.

    Positions are no weights: an encoder with others would load and read nonsense. The path is of
    the weights file, a model folder, or a run folder.

    Raises:
        CheckpointError: No weights, nothing about how they were made, or another encoder's.
    """
    file = find_weights(path)
    theirs, name, _ = _origin(file)
    ours, made = _encoder(model, data), _encoder(theirs.model, theirs.data)
    differ = [
        f"model.{key} = {made[key]}, the plan {ours[key]}" for key in ours if ours[key] != made[key]
    ]
    if differ:
        raise CheckpointError(f"weights file {file} has {'; '.join(differ)}: change the plan.")
    return name


def _encoder(model: ModelConfig, data: DataConfig) -> dict[str, object]:
    """What must agree for an encoder's weights to mean the same."""
    grid = model.position_grid or PatchGrid.of(model, data).shape
    keys = {"size", "patch", "tubelet", "final_norm"}
    return {**model.model_dump(mode="json", include=keys), "position_grid": list(grid)}
