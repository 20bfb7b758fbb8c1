"""All readers, and finding out which of them reads what under a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from echofm_core.data.findings import Findings
from echofm_core.data.manifest import COLUMNS, validate
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers.camus import CamusReader
from echofm_core.data.readers.echonet_dynamic import EchoNetDynamicReader
from echofm_core.data.readers.mimic_iv_echo import MimicIvEchoReader
from echofm_core.data.readers.tmed2 import Tmed2Reader
from echofm_core.errors import DataRootError

READERS: tuple[Reader, ...] = (
    EchoNetDynamicReader(),
    CamusReader(),
    Tmed2Reader(),
    MimicIvEchoReader(),
)

#: A layout may lie this many folders below the root that was given.
DEPTH = 2


def read_roots(roots: Sequence[Path]) -> tuple[pd.DataFrame, Findings]:
    """Read every known layout at or up to two folders below each root.

    Args:
        roots: Folders of data sets as downloaded, or folders that hold such.

    Returns:
        One manifest of all, ordered by root and source row, and everything that was wrong.

    Raises:
        DataRootError: A root is missing, holds no known layout, or nothing in it is usable.
    """
    manifests: list[pd.DataFrame] = []
    findings = Findings()
    done: set[Path] = set()
    for root in roots:
        if not root.is_dir():
            raise DataRootError(f"data root {root} does not exist or is not a folder.")
        layouts = list(find_layouts(root))
        if not layouts:
            names = ", ".join(reader.dataset for reader in READERS)
            raise DataRootError(
                f"data root {root} holds none of the known layouts ({names}) at its top or "
                f"{DEPTH} folders below; point at the folder that was downloaded."
            )
        for reader, place in layouts:
            if place.resolve() in done:
                continue
            done.add(place.resolve())
            manifest, found = reader.read(place)
            manifests.append(manifest)
            findings.extend(found)
    return _joined(manifests, findings), findings


def find_layouts(root: Path) -> Iterator[tuple[Reader, Path]]:
    """Readers that know a layout at ``root``, else in its sub-folders, in name order."""
    level = [root]
    for _ in range(DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            reader = next((reader for reader in READERS if reader.find(folder)), None)
            if reader is not None:
                yield reader, folder
            else:
                below.extend(_folders(folder))
        level = below


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(item for item in folder.iterdir() if item.is_dir())
    except OSError:
        return []


def _joined(manifests: list[pd.DataFrame], findings: Findings) -> pd.DataFrame:
    """One manifest; of clips that two roots hold, the first is kept."""
    filled = [manifest for manifest in manifests if len(manifest)]
    if not filled:
        raise DataRootError(
            f"none of the {len(findings.items)} files and rows under the data roots can be used; "
            "`echofm data index` lists the reasons."
        )
    joined = pd.concat(filled, ignore_index=True).astype(COLUMNS)
    twice = joined["clip_id"].duplicated()
    for row in joined[twice].itertuples():
        reason = "A clip of this id was read from an earlier root."
        findings.add(str(row.dataset), "duplicate_clip", str(row.clip_id), reason)
    return validate(joined[~twice], "the manifest of the data roots")
