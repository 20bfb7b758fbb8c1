"""All readers, and finding out which of them reads what under a folder."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from echofm_core.data.config import DataConfig
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import COLUMNS, manifest_from_rows, validate
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers.camus import CamusReader
from echofm_core.data.readers.camus_mhd import CamusMhdReader
from echofm_core.data.readers.cardiac_uda import CardiacUdaReader
from echofm_core.data.readers.echonet_dynamic import EchoNetDynamicReader
from echofm_core.data.readers.echonet_lvh import EchoNetLvhReader
from echofm_core.data.readers.echonet_pediatric import EchoNetPediatricReader
from echofm_core.data.readers.generic import GenericReader
from echofm_core.data.readers.hmc_qu import HmcQuReader
from echofm_core.data.readers.mimic_iv_echo import MimicIvEchoReader
from echofm_core.data.readers.mimic_lvvol_a4c import MimicLvvolA4cReader
from echofm_core.data.readers.private_names import secret_at, without_names
from echofm_core.data.readers.tmed2 import Tmed2Reader
from echofm_core.plan.preflight import check_roots
from echofm_core.runtime.errors import DataRootError


def readers(config: DataConfig) -> tuple[Reader, ...]:
    """Every reader, as a plan's table ``[data]`` wants it."""
    return (
        EchoNetDynamicReader(),
        CamusReader(),
        Tmed2Reader(config.tmed2),
        MimicIvEchoReader(config.mimic_iv_echo),
        MimicLvvolA4cReader(),
        EchoNetPediatricReader(),
        EchoNetLvhReader(),
        HmcQuReader(),
        CardiacUdaReader(),
        CamusMhdReader(),
        GenericReader(),
    )


READERS = readers(DataConfig())

#: A layout may lie this many folders below the root that was given; PhysioNet's lie three below
#: theirs, in ``physionet.org/files/NAME/VERSION``.
DEPTH = 4
#: From so many folders below on, only folders with few entries are gone into: what holds more
#: is full of patients or recordings, and an archive of those takes an hour to list.
OPEN, FEW = 2, 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """What one reader made of one folder; ``public``: its file names are public pseudonyms."""

    place: Path
    public: bool
    manifest: pd.DataFrame
    findings: Findings


def read_roots(
    roots: Sequence[Path], config: DataConfig | None = None, secret: bytes | None = None
) -> tuple[pd.DataFrame, Findings]:
    """Read every known layout at each root or up to ``DEPTH`` folders below, each folder once.

    Args:
        roots: Folders of data sets as downloaded, or folders that hold such.
        config: Uses the tables of single data sets.
        secret: The institution's, for names in published layouts that their publishers did not
            give; default: that at the layout's top.

    Returns:
        One manifest of all, ordered by root and source row, which may be empty, and everything
        that was wrong.

    Raises:
        DataRootError: A root is missing or holds no known layout, or a layout cannot be read.
    """
    findings, manifests = Findings(), []
    for reader, place in layouts_at(roots, readers(config) if config else READERS):
        reading = read_layout(reader, place, secret)
        findings.extend(reading.findings)
        manifests.append(reading.manifest)
    return joined(manifests, findings), findings


def layouts_at(
    roots: Sequence[Path], known: Sequence[Reader] = READERS
) -> list[tuple[Reader, Path]]:
    """Every layout of all roots, in their order, each place once; none of them is read.

    Raises:
        DataRootError: A root is missing or holds no known layout.
    """
    found: dict[Path, tuple[Reader, Path]] = {}
    for root in roots:
        check_roots([root])
        layouts = list(find_layouts(root, known))
        if not layouts:
            if not any(root.iterdir()):
                raise DataRootError(f"data root {root} is empty; point at a folder of data.")
            names = ", ".join(reader.dataset for reader in READERS if reader.public)
            raise DataRootError(
                f"data root {root} holds none of the known layouts ({names}) at its top or "
                f"{DEPTH} folders below; point at the folder that was downloaded, or write "
                "echofm.toml beside files of your own."
            )
        for reader, place in layouts:
            found.setdefault(place.resolve(), (reader, place))
    return list(found.values())


def read_layout(reader: Reader, place: Path, secret: bytes | None = None) -> Reading:
    """One reader's reading of one folder.

    Raises:
        DataRootError: Its tables cannot be read, or there are names to hash and no secret.
    """
    manifest, findings = reader.read(place)
    if reader.public:
        key = secret or secret_at(place)
        manifest = without_names(reader.dataset, place, manifest, findings, key)
    return Reading(place=place, public=reader.public, manifest=manifest, findings=findings)


def find_layouts(root: Path, known: Sequence[Reader] = READERS) -> Iterator[tuple[Reader, Path]]:
    """Readers that know a layout at ``root``, else in its sub-folders, in name order.

    Nothing is looked for in a layout that was found; a folder that links lead to is seen once.
    """
    level, seen = [root], set[tuple[int, int]]()
    for depth in range(DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            if (place := _place(folder)) is None or place in seen:
                continue
            seen.add(place)
            reader = next((reader for reader in known if reader.find(folder)), None)
            if reader is not None:
                yield reader, folder
            elif depth < DEPTH:
                below.extend(_folders(folder, FEW if depth >= OPEN else None))
        level = below


def _place(folder: Path) -> tuple[int, int] | None:
    """Device and number of a folder; None for one that may not be entered."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if os.access(folder, os.X_OK) else None


def _folders(folder: Path, most: int | None) -> list[Path]:
    """Its sub-folders in name order; none where it has more than ``most`` entries of any kind."""
    try:
        with os.scandir(folder) as entries:
            first = list(entries if most is None else islice(entries, most + 1))
            if most is not None and len(first) > most:
                return []
            return sorted(Path(entry.path) for entry in first if entry.is_dir())
    except OSError:
        return []


def joined(manifests: Sequence[pd.DataFrame], findings: Findings) -> pd.DataFrame:
    """One manifest, maybe empty; of clips that two of them hold, the first is kept."""
    filled = [manifest for manifest in manifests if len(manifest)]
    if not filled:
        return manifest_from_rows([])
    everything = pd.concat(filled, ignore_index=True).astype(COLUMNS)
    twice = everything["clip_id"].duplicated()
    for row in everything[twice].itertuples():
        reason = "A clip of this id was read from an earlier root."
        findings.add(str(row.dataset), "duplicate_clip", str(row.clip_id), reason)
    return validate(everything[~twice], "the manifest of the data roots")
