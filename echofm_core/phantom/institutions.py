"""Synthetic institutions on disk, each in the layout of a public data set."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from echofm_core.phantom.hospitals import Hospital
from echofm_core.phantom.patients import Institution
from echofm_core.phantom.writers import (
    camus,
    cardiac_uda,
    echonet_dynamic,
    echonet_lvh,
    echonet_pediatric,
    hmc_qu,
    mimic_iv_echo,
    mimic_lvvol_a4c,
    own_files,
    tmed2,
)
from echofm_core.phantom.writers import hospital as hospital_writer
from echofm_core.runtime.console import Meter
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.signals import thread_pool

T = TypeVar("T")


class Layout(StrEnum):
    """Which public layout, by the name of its data set."""

    ECHONET_DYNAMIC = "echonet_dynamic"
    CAMUS = "camus"
    MIMIC_IV_ECHO = "mimic_iv_echo"
    TMED2 = "tmed2"
    MIMIC_LVVOL_A4C = "mimic_lvvol_a4c"
    ECHONET_PEDIATRIC = "echonet_pediatric"
    ECHONET_LVH = "echonet_lvh"
    HMC_QU = "hmc_qu"
    CARDIAC_UDA = "cardiac_uda"
    CAMUS_MHD = "camus_mhd"
    OWN_FILES = "own_files"


#: Data root of each layout, below the folder, and what writes it.
WRITERS: Mapping[Layout, tuple[str, Callable[[Institution], None]]] = {
    Layout.ECHONET_DYNAMIC: ("EchoNet-Dynamic", echonet_dynamic.write),
    Layout.CAMUS: ("CAMUS_public", camus.write),
    Layout.MIMIC_IV_ECHO: ("mimic-iv-echo/1.0", mimic_iv_echo.write),
    Layout.TMED2: ("approved_users_only", tmed2.write),
    Layout.MIMIC_LVVOL_A4C: ("mimic-iv-echo-ext-lvvol-a4c/1.0.0", mimic_lvvol_a4c.write),
    Layout.ECHONET_PEDIATRIC: ("pediatric_echo_avi/pediatric_echo_avi", echonet_pediatric.write),
    Layout.ECHONET_LVH: ("EchoNet-LVH", echonet_lvh.write),
    Layout.HMC_QU: ("HMC-QU", hmc_qu.write),
    Layout.CARDIAC_UDA: ("cardiacUDC_dataset", cardiac_uda.write),
    Layout.CAMUS_MHD: ("CAMUS", camus.write_mhd),
    Layout.OWN_FILES: ("hospital-export", own_files.write),
}


def write_institutions(
    folder: Path,
    patients: Mapping[Layout, int],
    *,
    seed: int,
    errors: bool = True,
    meter: Meter | None = None,
    workers: int = 1,
) -> list[Path]:
    """Write institutions and return their data roots; the same seed gives the same files.

    Args:
        folder: New or empty; gets one data root an institution, and beside each
            ``<root>.truth.csv`` (what was drawn) and ``<root>.planted.csv`` (what was spoilt).
        patients: How many at each institution; those that are not there are not written.
        errors: Plant a sample of the public sets' known errors.
        meter: Advanced by one a patient.
        workers: Institutions written at the same time; the files do not depend on it.

    Raises:
        DataRootError: The folder is not empty.
    """

    def write(layout: Layout, unfinished: Path) -> Path:
        root, writer = WRITERS[layout]
        site = Institution(layout.value, unfinished / root, patients[layout], seed, errors, meter)
        writer(site)
        site.close()
        return folder / root

    chosen = [layout for layout, count in patients.items() if count]
    return _whole(folder, chosen, write, workers)


def write_hospitals(
    folder: Path,
    hospitals: Sequence[Hospital],
    patients: int | Mapping[str, int],
    *,
    seed: int,
    meter: Meter | None = None,
    workers: int = 1,
) -> list[Path]:
    """Write synthetic hospitals, and return their data roots; the same seed gives the same files.

    Args:
        folder: New or empty; gets a data root a hospital, by its name, and beside each
            ``NAME.truth.csv`` with the exact values, where the table has its reader's.
        patients: At each, or of each by its name.
        meter, workers: As of :func:`write_institutions`.

    Raises:
        DataRootError: The folder is not empty.
    """

    def write(hospital: Hospital, unfinished: Path) -> Path:
        name = hospital.name
        count = patients if isinstance(patients, int) else patients[name]
        site = Institution(name, unfinished / name, count, seed, False, meter)
        hospital_writer.write(site, hospital)
        site.close()
        return folder / name

    return _whole(folder, hospitals, write, workers)


def _whole(
    folder: Path, what: Sequence[T], write: Callable[[T, Path], Path], workers: int
) -> list[Path]:
    """Write all into a folder of another name first; what it holds at last is whole."""
    unfinished = folder / ".unfinished"  # of a run that was stopped
    shutil.rmtree(unfinished, ignore_errors=True)
    if folder.exists() and any(folder.iterdir()):
        raise DataRootError(f"{folder} is not empty; phantoms are only written to a new folder.")
    unfinished.mkdir(parents=True)
    # Threads: NumPy, OpenCV and zlib let go of the interpreter where the time is spent.
    with thread_pool(workers) as pool:
        futures = [pool.submit(write, item, unfinished) for item in what]
        roots = [future.result() for future in futures]
    for part in unfinished.iterdir():
        part.rename(folder / part.name)
    unfinished.rmdir()
    return roots
