"""Checks of a site's machine: its state folder, room, memory, devices and decoders."""

import importlib
import os
import shutil
import stat
from functools import cached_property
from pathlib import Path

from client.approval import newest_plan
from client.launch import SiteFile
from echofm_core.runtime.errors import (
    DataRootError,
    EnvironmentClashError,
    OutputError,
)
from echofm_core.runtime.text import many
from echofm_core.training.execution.devices import find_device, find_devices

#: Room that a round takes in the state folder, in models: the reply of before and that of now, own
#: and frozen weights, a round that is not finished.
ON_DISK = 6
#: Room in memory, in models: weights, gradients, two moments, what came and what leaves.
IN_MEMORY = 7
#: Bytes beside these: on the disk tables and logs; in memory the libraries; in /dev/shm a device.
TABLES, LIBRARIES, SHARED = 50 << 20, 700 << 20, 64 << 20


class MachineChecks:
    """Each returns what it found, or raises what is wrong and what to do."""

    folder: Path
    site: SiteFile

    @cached_property
    def _model(self) -> tuple[int, str]:
        """Bytes of the newest approved plan's model, and its name; of a tiny one where none is."""
        from client.dry_step import plan_of
        from echofm_core.models.build import anatomy_of

        plan = plan_of(self.folder, self.site)
        name = f"{plan.run_name()} ({plan.model.size.value})"
        whose = f"the model of {name}" if newest_plan(self.folder) else "a tiny model"
        return 4 * sum(anatomy_of(plan).groups.values()), whose

    def state(self) -> str:
        """A file can be written there; nobody else may read what is there.

        Raises:
            DataRootError: It cannot be written to.
        """
        state = Path(self.site.state)
        try:
            state.mkdir(parents=True, exist_ok=True)
            trial = state / f".check.{os.getpid()}"
            trial.touch()
            trial.unlink()
            if mode := stat.S_IMODE(state.stat().st_mode) & 0o077:
                state.chmod(0o700)
        except OSError as error:
            raise DataRootError(
                f"{state} cannot be written to ({error.strerror}); set `state` to a folder that "
                "this user owns."
            ) from None
        taken = "; it was open to others and is its owner's alone now" if mode else ""
        return f"{state} can be written to{taken}"

    def records(self) -> str:
        """Audit and privacy ledger are whole."""
        from client.audit_report import open_chains
        from echofm_core.privacy.ledger import Ledger

        chains = open_chains(Path(self.site.state))
        Ledger(Path(self.site.state))
        lines = [many(len(chain.records), "line") for chain in (chains.audit, chains.ledger)]
        return f"the audit has {lines[0]} and the privacy ledger {lines[1]}, whole"

    def disk(self) -> str:
        """A round has room in the state folder.

        Raises:
            OutputError: There is less room than a round takes.
        """
        free, (model, whose) = shutil.disk_usage(self.site.state).free, self._model
        need = ON_DISK * model + TABLES
        found = f"{_gb(free)} are free for {self.site.state}, a round of {whose} takes {_gb(need)}"
        if free < need:
            raise OutputError(
                f"{found}; make room there, with `echofm client purge` or else, or set `state` to "
                "a larger disk."
            )
        return found

    def memory(self) -> str:
        """A round has room in memory, apart from what depends on its batches.

        Raises:
            EnvironmentClashError: There is less than a round takes.
        """
        free, (model, whose) = _free_memory(), self._model
        if free is None:
            return "how much is free is not known on this system"
        need = IN_MEMORY * model + LIBRARIES
        found = f"{_gb(free)} are free, {whose} takes {_gb(need)} and its batches beside"
        if free < need:
            raise EnvironmentClashError(f"{found}; end other programs, or use a larger machine.")
        return found

    def shared_memory(self) -> str:
        """Several devices have room for what they pass to each other.

        Raises:
            EnvironmentClashError: There is less than the devices take.
        """
        if (devices := self.site.devices) == 1:
            return "not used with devices = 1"
        folder = Path("/dev/shm")
        if not folder.is_dir():
            return "this system has no /dev/shm"
        free, need = shutil.disk_usage(folder).free, devices * SHARED
        found = f"{_gb(free)} of /dev/shm are free, {devices} devices may take {_gb(need)}"
        if free < need:
            raise EnvironmentClashError(
                f"{found}; give this machine or its container more (docker: --shm-size)."
            )
        return found

    def devices(self) -> str:
        """``device`` and ``devices`` of the settings are there."""
        import torch

        name, count = self.site.device, self.site.devices
        device = find_device(name)
        if count > 1:
            device = torch.device(find_devices(name, count))
        what = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return f"device = {name} is {what}; devices = {count}"

    def decoders(self) -> str:
        """What reads cines loads.

        Raises:
            EnvironmentClashError: OpenCV or pydicom does not load.
        """
        found = []
        for name in ("cv2", "pydicom"):
            try:
                found.append(f"{name} {importlib.import_module(name).__version__}")
            except (ImportError, OSError) as error:
                raise EnvironmentClashError(
                    f"{name} does not load ({type(error).__name__}: {error}); install "
                    "echofm-federated again in an environment of its own."
                ) from None
        try:
            found.append(f"decord {importlib.import_module('decord').__version__}")
        except (ImportError, OSError) as error:
            found.append(f"no decord ({type(error).__name__}), in whose place OpenCV reads")
        return ", ".join(found)


def _free_memory() -> int | None:
    """Bytes that this process may still take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    group = Path("/sys/fs/cgroup")
    try:  # of a container
        most = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max"
        return free
    return min(free, max(0, most - used))


def _gb(size: int) -> str:
    return f"{size / 1e9:,.2f} GB"
