"""What a command needs of this machine, looked at before any data are read."""

from collections.abc import Iterable
from pathlib import Path

from echofm_core.plan.machine import MachineConfig
from echofm_core.runtime.errors import DataRootError
from echofm_core.tracking.listener import require_trackers
from echofm_core.training.config import FinetuneConfig
from echofm_core.training.execution.devices import check_device_word, find_device, find_devices


def check_words(machine: MachineConfig) -> None:
    """Refuse missing data folders, and words that are no device, before PyTorch is loaded.

    Raises:
        DataRootError: No data folder is named, or one is missing.
        EnvironmentClashError: There is no such kind of device.
    """
    if not machine.roots:
        raise DataRootError(
            "the plan names no data: set machine.roots to the folders of the data sets, "
            "as downloaded."
        )
    check_roots(map(Path, machine.roots))
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
    """
    from echofm_core.models.lora import require_adapters

    require_trackers(machine.track)
    require_adapters(finetune)
    if machine.devices > 1:
        find_devices(machine.device, machine.devices)
    else:
        find_device(machine.device)
