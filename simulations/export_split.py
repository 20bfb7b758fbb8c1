"""A protocol's sites and splits as a folder of files: written whole or not at all."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from echofm_core import __version__
from echofm_core.data.manifest import Split, files_of, load_manifest
from echofm_core.data.patients import patient_keys
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError, ManifestError, ResumeError
from echofm_core.runtime.files import check_place, install_folder, partial_path, writing
from echofm_core.runtime.names import folder_names
from simulations.protocols.assign import RULES, assign_sites
from simulations.split_files import (
    LABELS,
    cells,
    csv_text,
    write_card,
    write_datalists,
    write_tables,
)

SUMMARY = "split.json"
#: Order of the rows: whatever the order of the manifest, the files are the same.
ORDER = ["site", "rank", "dataset", "patient_id", "clip_id"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """How files are named in the ``path`` column."""

    written: bool = True
    """False leaves the column empty, and writes no data lists."""
    below: Path | None = None
    """Paths are relative to this folder; None: absolute, as in the manifest."""


class Exported(NamedTuple):
    """``split.json``'s content, and whether the folder is new."""

    summary: dict[str, Any]
    new: bool


def export_split(
    manifest: Path, protocol: ProtocolConfig, seed: int, out: Path, paths: Paths = Paths()
) -> Exported:
    """Place a manifest's clips by a protocol and write the split; the same call, the same bytes.

    Sites and splits are drawn over all clips, as in a run. ``protocol.views`` then leaves out the
    clips of other views, and those whose view is unknown.

    Args:
        manifest: Parquet file of ``echofm data index``, or of a run (``manifests/all.parquet``).
        protocol, seed: As in a plan.
        out: Folder to make; one that holds the same split is left as it is.
        paths: See :class:`Paths`.

    Raises:
        ManifestError: The manifest breaks its contract, or a path is not below ``paths.below``.
        EmptySiteError: A site has too few patients, or no clip is of the views.
        ResumeError: ``out`` holds something else.
        OutputError: ``out`` cannot be written.
    """
    out = out.resolve()
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).is_file()):
        raise ResumeError(f"{out} is there and holds no split; choose another --out.")
    check_place(out, folder=True)
    placed = assign_sites(load_manifest(manifest), protocol, seed)
    rows = _admitted(placed, protocol)
    stage = partial_path(out)
    try:
        with writing(out):
            stage.mkdir(parents=True)
            summary = {
                "version": __version__,
                "protocol": protocol.model_dump(mode="json"),
                "seed": seed,
                "manifest_sha256": _digest(manifest),
                "left_out_clips": len(placed) - len(rows),
                **_fill(rows, protocol, paths, stage),
            }
            (stage / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            return Exported(summary=summary, new=_install(stage, summary, out))
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _admitted(placed: pd.DataFrame, protocol: ProtocolConfig) -> pd.DataFrame:
    """Rows of the protocol's views, in the order of the files."""
    rows = placed[placed["view"].isin(protocol.views)] if protocol.views else placed
    if rows.empty:
        raise EmptySiteError(
            f"no clip is left to export: the views {list(protocol.views)} were asked for, the "
            f"manifest holds {sorted(placed['view'].dropna().unique())}."
        )
    rank = rows["split"].map({split.value: rank for rank, split in enumerate(Split)})
    return rows.assign(rank=rank).sort_values(ORDER).drop(columns="rank").reset_index(drop=True)


def _fill(
    rows: pd.DataFrame, protocol: ProtocolConfig, paths: Paths, stage: Path
) -> dict[str, Any]:
    """Write every file but the summary, and return the summary's other half."""
    rule = RULES[protocol.name]
    folders = folder_names(sorted(rows["site"].unique()))
    texts = cells(rows)
    pathless = hashlib.sha256(csv_text(texts.assign(path="")).encode()).hexdigest()
    texts["path"] = _named(texts["path"], paths)
    write_tables(texts, folders, stage)
    write_card(texts, folders, rule.caveat, stage, datalists=paths.written)
    if paths.written:
        write_datalists(texts, folders, stage)
    return {
        "split_sha256": pathless,  # equal wherever the files lie
        "synthetic_sites": rule.synthetic,
        "caveat": rule.caveat,
        "paths": "none" if not paths.written else "relative" if paths.below else "absolute",
        "path_separator": os.pathsep,
        "sites": {
            site: {"folder": folder, **_counts(rows[rows["site"] == site])}
            for site, folder in folders.items()
        },
        "files": {
            file.relative_to(stage).as_posix(): _digest(file)
            for file in sorted(stage.rglob("*"))
            if file.is_file()
        },
    }


def _named(files: pd.Series, paths: Paths) -> list[str]:
    """The ``path`` column; files that are not below the folder are counted, never named."""
    if not paths.written:
        return [""] * len(files)
    if paths.below is None:
        return list(files)
    root = paths.below.resolve()
    parts = [[Path(os.path.normpath(part)) for part in files_of(text)] for text in files]
    if outside := sum(not all(part.is_relative_to(root) for part in clip) for clip in parts):
        raise ManifestError(
            f"{outside} of {len(parts)} clips do not lie below {root}; give --relative-to a folder "
            "above all of them, or leave it out for absolute paths."
        )
    return [os.pathsep.join(part.relative_to(root).as_posix() for part in clip) for clip in parts]


def _counts(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Split -> clips, patients, and clips with each label."""
    return {
        split.value: {
            "clips": len(part),
            "patients": int(patient_keys(part).nunique()),
            "labelled": {label: int(part[label].count()) for label in LABELS},
        }
        for split in Split
        for part in [rows[rows["split"] == split.value]]
    }


def _install(stage: Path, summary: dict[str, Any], out: Path) -> bool:
    """Put the staged folder in place; False where it is there already."""
    if not (out / SUMMARY).is_file():
        install_folder(stage, out)
        return True
    try:
        kept = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
        differing = {key for key in summary if kept.get(key) != summary[key]} - {"version"}
        whole = all(_digest(out / name) == value for name, value in kept["files"].items())
    except (ValueError, AttributeError, KeyError):
        raise ResumeError(f"{out / SUMMARY} is damaged; remove {out} first.") from None
    if differing:
        named = ", ".join(sorted(differing - {"files"})) or "files"
        raise ResumeError(f"{out} holds another split ({named} differ); choose another --out.")
    if not whole:
        raise ResumeError(f"{out} holds this split, but its files were changed; remove it first.")
    return False


def _digest(file: Path) -> str:
    """SHA-256 of a file, "" where there is none."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
