"""The doctor reads, decodes and checks; page, terminal and JSON say what it found."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.data.config import DataConfig
from echofm_core.data.doctor import checks
from echofm_core.data.findings import Findings, Severity
from echofm_core.data.manifest import manifest_from_rows
from echofm_core.data.patients import PUBLISHED, new_secret
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers.generic import LOOSE, read_loose
from echofm_core.data.readers.private_names import is_published, secret_at
from echofm_core.data.readers.registry import Reading, find_layouts, joined, read_layout, readers
from echofm_core.data.store.build import build_stores
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.phantom.patients import is_phantom
from echofm_core.plan.preflight import check_places
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.randomness import stream

#: Side of the frames that are looked at, in pixels.
SIZE = 112


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Diagnosis:
    """What was found in data folders.

    Attributes:
        manifest: One row a usable clip, as the readers gave it.
        findings: dataset, kind, item, reason, severity; one row a thing that is wrong, by data set
            and in the order met.
        decoded: One row a clip that was decoded, by clip id: ``frames`` (int), ``fps`` (Hz),
            ``seconds``, ``height`` and ``width`` (pixels of the source), ``sector`` (share of the
            frame, 0 to 1), ``grey`` (mean level in the sector, 0 to 255); float, NaN where unknown.
        thumbnails: Clip id -> ``(S, S)`` uint8, the middle frame, zero outside the sector.
        synthetic: Phantoms are among the data: every page and picture says so.
        public: Data sets whose ids are public pseudonyms, fit to be shown.
        places: Path of what findings call by a hash; never leaves the institution.
    """

    manifest: pd.DataFrame
    findings: pd.DataFrame
    decoded: pd.DataFrame
    thumbnails: Mapping[str, NDArray[np.uint8]]
    synthetic: bool
    public: frozenset[str]
    places: Mapping[str, str] = field(default_factory=dict)


def examine(
    places: Sequence[Path],
    scratch: Path,
    config: DataConfig | None = None,
    *,
    decode: int = 1000,
    workers: int = 1,
) -> Diagnosis:
    """Look at data folders, or single files, as they lie; nothing in them is changed.

    Args:
        places: Folders that hold known layouts, folders of loose AVI, MP4 and DICOM, or such files.
        scratch: Folder for decoded clips; removed at the end, gone on with after a kill.
        config: As a plan asks for it; clips are looked at in ``SIZE``, whatever it says.
        decode: Clips of each data set that are decoded, drawn at random; 0 means all.
        workers: Processes that decode.

    Raises:
        DataRootError: A place is missing.
    """
    check_places(places)
    config = (config or DataConfig()).model_copy(update={"size": SIZE})
    known = readers(config)
    readings = [reading for place in places for reading in _read(place, known)]
    findings = Findings()
    for reading in readings:
        findings.extend(reading.findings)
    manifest = joined([reading.manifest for reading in readings], findings)
    items = _items(manifest, readings)
    checks.check_labels(manifest, items, findings)
    checks.check_frame_rates(manifest, items, findings)
    store, found = _decode(_draw(manifest, decode), scratch, config, workers)
    lost = {item.item for item in found.items if item.severity is Severity.QUARANTINED}
    # What the decoder says is named as the readers name it.
    findings.items += [replace(item, item=items[item.item]) for item in found.items]
    manifest = manifest[~manifest["clip_id"].isin(lost)].reset_index(drop=True)
    if store is not None:
        checks.check_pictures(manifest, store, items, findings)
        checks.check_duplicates(manifest, store, items, findings)
    diagnosis = Diagnosis(
        manifest=manifest,
        findings=findings.table().sort_values("dataset", kind="stable", ignore_index=True),
        decoded=_facts(manifest, store),
        thumbnails={} if store is None else _thumbnails(store),
        places={**findings.places, **_paths(manifest)},
        synthetic=any(is_phantom(reading.place) for reading in readings),
        public=frozenset(
            dataset
            for reading in readings
            if reading.public
            for dataset in reading.manifest["dataset"].unique()
        ),
    )
    shutil.rmtree(scratch, ignore_errors=True)
    return diagnosis


def _read(place: Path, known: Sequence[Reader]) -> Iterator[Reading]:
    """Known layouts at a place, else its loose files; a layout that cannot be read is a finding."""
    layouts = list(find_layouts(place, known))
    for reader, folder in layouts:
        try:
            yield read_layout(reader, folder, secret_at(folder) or new_secret())
        except DataRootError as error:
            findings = Findings()
            findings.add(reader.dataset, "unusable_root", folder.name, str(error))
            nothing = manifest_from_rows([])
            yield Reading(place=folder, public=reader.public, manifest=nothing, findings=findings)
    if layouts:
        return
    manifest, findings = read_loose(place)
    if manifest.empty and not findings.items:
        names = ", ".join(reader.dataset for reader in known)
        findings.add(
            LOOSE,
            "nothing_known",
            "-",
            f"A folder that was given holds none of the known layouts ({names}) and no AVI, MP4 or "
            "DICOM file; point at the folder that was downloaded, or at a file.",
            Severity.NOTED,  # there is no file that could be quarantined
        )
    yield Reading(place=place, public=False, manifest=manifest, findings=findings)


def _items(manifest: pd.DataFrame, readings: Sequence[Reading]) -> dict[str, str]:
    """How findings name each clip: its file below its data root.

    Its id where names are private, or where several files are one clip.
    """
    items = {str(clip): str(clip) for clip in manifest["clip_id"]}
    for reading in readings:
        root = reading.place.resolve()
        if reading.public:
            names = reading.manifest[["clip_id", "path", "dataset"]]
            for clip, path, dataset in names.itertuples(index=False):
                if Path(path).is_relative_to(root) and Path(path).is_file():
                    item = Path(path).relative_to(root).as_posix()
                    if is_published(str(dataset), item):
                        items[str(clip)] = item
    return items


def _paths(manifest: pd.DataFrame) -> dict[str, str]:
    """Path of every clip whose id is a hash."""
    return {
        str(clip): str(path)
        for clip, path, dataset in manifest[["clip_id", "path", "dataset"]].itertuples(index=False)
        if dataset not in PUBLISHED or not is_published(str(dataset), str(clip))
    }


def _draw(manifest: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many clips of each data set, in their order; 0: all."""
    drawn = [manifest[:0]]
    for dataset, rows in manifest.groupby("dataset", observed=True):
        places = np.arange(len(rows))
        if 0 < most < len(rows):
            places = stream(0, str(dataset), 0, "doctor.draw").choice(places, most, replace=False)
        drawn.append(rows.iloc[np.sort(places)])
    return pd.concat(drawn)


def _decode(
    manifest: pd.DataFrame, scratch: Path, config: DataConfig, workers: int
) -> tuple[ClipStore | None, Findings]:
    folders, findings = list[Path](), Findings()
    for _, store, found in build_stores(manifest, scratch, config, workers):
        folders.append(store.folder)
        findings.extend(found)
    return ClipStore(folders) if folders else None, findings


def _facts(manifest: pd.DataFrame, store: ClipStore | None) -> pd.DataFrame:
    """See :attr:`Diagnosis.decoded`."""
    columns = ["frames", "fps", "seconds", "height", "width", "sector", "grey"]
    if store is None:
        return pd.DataFrame(columns=columns, dtype=float)
    clips = [str(clip) for clip in manifest["clip_id"] if str(clip) in store]
    sizes = manifest.set_index("clip_id").loc[clips, ["height", "width"]].astype("Float64")
    table = pd.DataFrame(index=pd.Index(clips, name="clip_id"))
    table["frames"] = [float(store.length(clip)) for clip in clips]
    table["fps"] = [store.fps(clip) or np.nan for clip in clips]
    table["seconds"] = table["frames"] / table["fps"]
    table[["height", "width"]] = sizes.to_numpy(dtype=float, na_value=np.nan)
    table["sector"] = [float(store.sector(clip).mean()) for clip in clips]
    table["grey"] = [float(store.frames(clip)[:, store.sector(clip)].mean()) for clip in clips]
    return table


def _thumbnails(store: ClipStore) -> dict[str, NDArray[np.uint8]]:
    clips = map(str, store.index.index)
    return {clip: store.frames(clip)[store.length(clip) // 2].copy() for clip in clips}
