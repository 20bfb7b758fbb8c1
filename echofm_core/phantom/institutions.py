"""Four synthetic institutions on disk, each in the layout of a public data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from echofm_core.console import Meter
from echofm_core.errors import DataRootError
from echofm_core.phantom.writers import camus, echonet_dynamic, mimic_iv_echo, tmed2

#: (folder, patients, seed, errors, meter) -> root.
Writer = Callable[[Path, int, int, bool, Meter | None], Path]

WRITERS: Mapping[str, Writer] = {
    "echonet_dynamic": echonet_dynamic.write,
    "camus": camus.write,
    "mimic_iv_echo": mimic_iv_echo.write,
    "tmed2": tmed2.write,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomSize:
    """Patients at each institution; 0 leaves it out."""

    echonet: int = 0
    camus: int = 0
    mimic: int = 0
    tmed: int = 0

    def of(self, layout: str) -> int:
        """Patients of a layout."""
        return {
            "echonet_dynamic": self.echonet,
            "camus": self.camus,
            "mimic_iv_echo": self.mimic,
            "tmed2": self.tmed,
        }[layout]

    @property
    def patients(self) -> int:
        """Patients of all institutions."""
        return self.echonet + self.camus + self.mimic + self.tmed


def write_institutions(
    folder: Path,
    *,
    size: PhantomSize,
    seed: int,
    errors: bool = True,
    meter: Meter | None = None,
    workers: int = 1,
) -> list[Path]:
    """Write institutions; the same seed gives the same pictures and labels.

    Args:
        folder: New or empty; gets one data root an institution, and beside each
            ``<root>.truth.csv`` (what was drawn) and ``<root>.planted.csv`` (what was spoilt).
        size: Patients of each.
        seed: Of every random stream.
        errors: Plant a sample of the public sets' known errors.
        meter: Advanced by one a patient.
        workers: Institutions written at the same time; the files do not depend on it.

    Returns:
        The data roots.

    Raises:
        DataRootError: The folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataRootError(f"{folder} is not empty; phantoms are only written to a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    # Threads: NumPy, OpenCV and zlib let go of the interpreter where the time is spent.
    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [
            pool.submit(write, folder, size.of(layout), seed, errors, meter)
            for layout, write in WRITERS.items()
            if size.of(layout)
        ]
        return [future.result() for future in futures]
