"""What a command needs of this machine and of its plan, checked before any data are read."""

from collections.abc import Iterable
from pathlib import Path

from echofm_core.plan.document import Plan
from echofm_core.plan.engine import EngineName
from echofm_core.plan.machine import MachineConfig
from echofm_core.plan.ray_address import knock, require_ray
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.text import many
from echofm_core.tracking.listener import require_trackers
from echofm_core.training.config import FinetuneConfig, PhaseConfig
from echofm_core.training.execution.devices import check_device_word, find_device, find_devices

#: Fewest positions that a mask should leave visible: from fewer little else can be predicted.
LEAST_SEEN = 8
#: Share of a square's positions that an ultrasound sector touches, about (``model.sector_only``).
SECTOR_SHARE = 0.75


def check_words(machine: MachineConfig) -> None:
    """Refuse missing data, and words that are no device, before PyTorch is loaded.

    Raises:
        DataRootError: No data folder is named, or one is missing; or the secret is.
        PlanError: There is no such kind of device.
    """
    if not machine.roots:
        raise DataRootError(
            "the plan names no data: set machine.roots to the folders of the data sets, "
            "as downloaded."
        )
    check_roots(map(Path, machine.roots))
    if machine.secret and not Path(machine.secret).is_file():  # it is read when all is decoded
        raise DataRootError(
            f"machine.secret names {machine.secret}, which is no file; make one with `echofm data "
            "secret`, or take the key out of the plan."
        )
    check_device_word(machine.device)


def check_roots(roots: Iterable[Path]) -> None:
    """Refuse what is no folder.

    Raises:
        DataRootError: A root is missing.
    """
    for root in roots:
        if not root.is_dir():
            raise DataRootError(f"data root {root} does not exist or is not a folder.")


def check_places(places: Iterable[Path]) -> None:
    """Refuse a file or folder that is not there.

    Raises:
        DataRootError: One is missing.
    """
    for place in places:
        if not place.exists():
            raise DataRootError(f"{place} does not exist; name files, or folders with files.")


def require_machine(machine: MachineConfig, finetune: FinetuneConfig) -> None:
    """Refuse a plan that this machine cannot train.

    Raises:
        EnvironmentClashError: A package that the plan asks for, or a device, is not here.
        EngineError: Its Ray cluster is not there.
    """
    from echofm_core.models.lora import require_adapters

    require_trackers(machine.track)
    require_adapters(finetune)
    require_engine(machine)
    if machine.engine is EngineName.RAY:
        return  # the devices are those of its nodes
    if machine.devices > 1:
        find_devices(machine.device, machine.devices)
    else:
        find_device(machine.device)


def require_engine(machine: MachineConfig) -> None:
    """Refuse the Ray engine where Ray is not installed, or nobody is at its cluster's address.

    Raises:
        EnvironmentClashError: It is not installed.
        EngineError: Nobody listens there.
    """
    if machine.engine is EngineName.RAY:
        require_ray()
        knock(machine.ray.address)


def preflight_notes(plan: Plan) -> list[str]:
    """Warnings of what a plan says of its training, before any data are read."""
    return [*masking_notes(plan), *warm_up_notes(plan)]


def warm_up_notes(plan: Plan) -> list[str]:
    """A warning where a warm-up takes all rounds of a training, so that its rate never falls."""
    tuning, asked = plan.finetune, plan.evaluation
    latent, parts = plan.pretrain.stages()[-1].latent, (" of the teacher", " of the student")
    trained: list[tuple[str, PhaseConfig, int, str]] = [
        ("pretrain", plan.pretrain, stage.last - stage.first + 1, part * latent)
        for stage, part in zip(plan.pretrain.stages(), parts, strict=False)
    ]
    few = asked.few_shot_rounds if asked.few_shot else 0
    trained += [("finetune", tuning, tuning.rounds, "")]
    trained += [("finetune", tuning, few, " of evaluation.few_shot")]
    return [
        f"{table}.warmup_rounds = {config.warmup_rounds:g} takes all of {many(rounds, 'round')}"
        f"{what}: the learning rate rises until the end and never falls; set it to a part of them."
        for table, config, rounds, what in trained
        if 0 < rounds <= config.warmup_rounds
    ]


def masking_notes(plan: Plan) -> list[str]:
    """A warning where masks leave the encoder fewer than ``LEAST_SEEN`` positions of a time slot.

    How many positions the sector of a clip touches is known with the data alone, so a share of the
    square is taken for it. What is advised is the largest smaller patch that leaves enough; weights
    that the plan starts from have a patch of their own.
    """
    size, patch = plan.data.size, plan.model.patch
    seen = _seen(plan, patch)
    if not plan.pretrain.rounds or seen >= LEAST_SEEN:
        return []
    last = patch if plan.model.start else 4
    smaller = (side for side in range(patch - 1, last - 1, -1) if size % side == 0)
    finer = next((side for side in smaller if _seen(plan, side) >= LEAST_SEEN), None)
    advice = "a larger data.size"
    if finer:
        rows = size // finer
        advice = (
            f"model.patch = {finer} ({rows} x {rows} positions, about {_seen(plan, finer)} seen)"
        )
    side, about = size // patch, "about " if plan.model.sector_only else ""
    return [
        f"pretrain.mask_ratio = {plan.pretrain.mask_ratio:g} leaves the encoder {about}{seen} of "
        f"{side} x {side} positions (data.size {size}, model.patch {patch}), fewer than "
        f"{LEAST_SEEN}, from which little of the others can be predicted; set {advice}, or a lower "
        "mask_ratio."
    ]


def _seen(plan: Plan, patch: int) -> int:
    """Positions of a time slot that stay visible with patches of this side, in pixels."""
    from echofm_core.models.masking import hidden_count

    positions = (plan.data.size // patch) ** 2
    if plan.model.sector_only:
        positions = int(SECTOR_SHARE * positions)
    return positions - hidden_count(positions, plan.pretrain.mask_ratio)
