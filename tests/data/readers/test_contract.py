"""What every reader promises, on phantoms in the public layouts with planted errors."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.config import DataConfig
from echofm_core.data.doctor.examine import Diagnosis, examine
from echofm_core.data.findings import Findings
from echofm_core.data.manifest import COLUMNS, validate
from echofm_core.data.readers._api import Reader
from echofm_core.data.readers.registry import READERS, read_roots
from echofm_core.data.store.build import build_store
from echofm_core.data.store.clip_store import ClipStore
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.runtime.errors import DataRootError

PATIENTS = {layout: 2 if layout is Layout.MIMIC_IV_ECHO else 6 for layout in Layout}
#: EF and volumes as a layout's tables round them; the others write them in full.
ROUNDED = {"camus": 0.51, "camus_mhd": 0.051, "generic": 0.0051}
#: What the doctor notes is clips that are as the phantom spoilt them.
LIFELESS = {"blank_clip", "frozen_clip"}
NAMES = [reader.dataset for reader in READERS]


@dataclass(frozen=True)
class Institution:
    reader: Reader
    root: Path
    manifest: pd.DataFrame
    findings: Findings
    store: ClipStore
    refused: Findings
    diagnosis: Diagnosis

    def beside(self, kind: str) -> pd.DataFrame:
        """``truth`` or ``planted``, as the phantom noted it."""
        return pd.read_csv(self.root.with_name(f"{self.root.name}.{kind}.csv"), dtype="string")


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Institution]:
    folder = tmp_path_factory.mktemp("phantoms")
    made = {}
    for root in write_institutions(folder / "roots", PATIENTS, seed=3):
        (reader,) = [reader for reader in READERS if reader.find(root)]
        manifest, findings = reader.read(root)
        store, refused = build_store(manifest, folder / reader.dataset, DataConfig())
        diagnosis = examine([root], folder / "scratch")
        made[reader.dataset] = Institution(
            reader, root, manifest, findings, store, refused, diagnosis
        )
    return made


@pytest.fixture(params=NAMES)
def one(request: pytest.FixtureRequest, all_of_them: dict[str, Institution]) -> Institution:
    return all_of_them[request.param]


def test_a_reader_knows_its_own_layout_only(
    one: Institution, all_of_them: dict[str, Institution], tmp_path: Path
) -> None:
    assert one.reader.find(one.root)
    others = [other.root for name, other in all_of_them.items() if name != one.reader.dataset]
    assert not any(one.reader.find(root) for root in [*others, tmp_path, tmp_path / "none"])


def test_the_manifest_keeps_its_contract(one: Institution) -> None:
    validate(one.manifest)
    assert list(one.manifest.columns) == list(COLUMNS)
    assert one.manifest["dataset"].nunique() == 1
    if one.reader.public:
        assert set(one.manifest["dataset"]) == {one.reader.dataset}
    if one.reader.dataset != "cardiac_uda":  # the one release that names hospitals
        assert one.manifest["site"].isna().all()
    assert len(one.manifest) >= 6
    for path in one.manifest["path"]:
        for file in map(Path, path.split(os.pathsep)):
            assert file.is_absolute()
            assert file.is_relative_to(one.root)


def test_every_planted_error_is_listed_once_and_nothing_else(one: Institution) -> None:
    """The phantom's list of what it spoilt against the doctor's, by kind and file."""
    planted, found = one.beside("planted"), one.diagnosis.findings
    assert len(planted) >= 3
    places = {item: Path(path) for item, path in one.diagnosis.places.items()}
    if one.reader.public:  # what the publisher did not name is named by a hash
        found = found.assign(
            item=[
                places[item].relative_to(one.root).as_posix() if item in places else item
                for item in found["item"]
            ]
        )
    assert _counted(found) == _counted(planted)


def test_what_is_quarantined_is_not_in_the_manifest(one: Institution) -> None:
    """Of what the doctor lists, only clips that failed to decode still have a row."""
    table = one.findings.table()
    lost = set(table[table["severity"] == "quarantined"]["item"])
    kept = {
        Path(path).relative_to(one.root.resolve()).as_posix()
        for path in one.manifest["path"]
        if os.pathsep not in path
    }
    duplicates = set(table[table["kind"].isin(["duplicate_row", "duplicate_file"])]["item"])
    assert not (lost - duplicates) & kept


def test_labels_are_those_that_were_drawn(one: Institution) -> None:
    """But for the rounding of the layout's own tables, and one EF that was spoilt."""
    truth = one.beside("truth")
    truth = truth.drop_duplicates("study" if "study" in truth else "clip")
    truth = truth.set_index("study" if "study" in truth else "clip")
    expects = {"echonet_dynamic": "ef", "camus": "ef", "camus_mhd": "esv", "tmed2": "as_grade",
               "mimic_lvvol_a4c": "ef", "echonet_pediatric": "ef", "generic": "ef"}  # fmt: skip
    for column in ("ef", "edv", "esv", "as_grade"):
        rows = one.manifest.dropna(subset=[column])
        rows = rows[rows["clip_id"].isin(truth.index)]
        expected = truth.loc[rows["clip_id"], column].astype(float).to_numpy()
        atol = ROUNDED.get(one.reader.dataset, 1e-3)
        np.testing.assert_allclose(rows[column].to_numpy(dtype=float), expected, atol=atol)
        if expects.get(one.reader.dataset) == column:
            assert len(rows) >= 5


def test_what_was_decoded_is_ultrasound(one: Institution) -> None:
    """Something lit in a plausible sector, nothing outside it, and it moves."""
    noted = one.diagnosis.findings
    lifeless = {_stem(item) for item in noted[noted["kind"].isin(LIFELESS)]["item"]}
    paths = one.manifest.set_index("clip_id")["path"]
    for clip in one.store.index.index:
        if _stem(paths[clip]) in lifeless:
            continue
        frames, sector = one.store.frames(clip), one.store.sector(clip)
        assert 0.1 < sector.mean() < 0.99
        assert not frames[:, ~sector].any()
        assert 5 < frames[:, sector].mean() < 200
        assert len(frames) == 1 or (frames[0] != frames[-1]).any()


def test_reading_changes_nothing_and_repeats(one: Institution) -> None:
    before = _fingerprint(one.root)
    manifest, findings = one.reader.read(one.root)
    assert _fingerprint(one.root) == before
    pd.testing.assert_frame_equal(manifest, one.manifest)
    pd.testing.assert_frame_equal(findings.table(), one.findings.table())


def test_reasons_name_no_patient(one: Institution) -> None:
    patients = set(one.manifest["patient_id"])
    reasons = " ".join([*one.findings.table()["reason"], *one.refused.table()["reason"]])
    assert not [patient for patient in patients if len(patient) > 3 and patient in reasons]


@pytest.mark.parametrize("how", ["empty", "noise", "cut"])
def test_damage_anywhere_never_crashes(one: Institution, tmp_path: Path, how: str) -> None:
    """Each table, and one clip of each kind, is spoilt in turn."""
    root = tmp_path / one.root.name
    shutil.copytree(one.root, root)
    first = {file.suffix: file for file in sorted(root.rglob("*")) if file.is_file()}
    tables = [file for file in root.rglob("*") if file.suffix in (".csv", ".txt", ".cfg")]
    for file in dict.fromkeys([*first.values(), *tables[:8]]):
        content = file.read_bytes()
        noise = np.random.default_rng(0).integers(0, 256, 600, dtype=np.uint8).tobytes()
        file.write_bytes({"empty": b"", "noise": noise, "cut": content[: len(content) // 3]}[how])
        try:
            validate(one.reader.read(root)[0])
        except DataRootError as error:
            assert file.suffix in (".csv", ".toml", ".secret"), error
        file.write_bytes(content)


def test_all_of_them_through_the_registry(all_of_them: dict[str, Institution]) -> None:
    manifest, findings = read_roots([one.root for one in all_of_them.values()])
    counts = manifest["dataset"].value_counts()
    for one in all_of_them.values():
        assert counts[one.manifest["dataset"].iloc[0]] == len(one.manifest)
    assert len(findings.items) == sum(len(one.findings.items) for one in all_of_them.values())


def test_they_are_found_below_one_root(all_of_them: dict[str, Institution]) -> None:
    """Several data sets under one folder are normal; each is read once."""
    above = all_of_them["camus"].root.parent
    manifest, _ = read_roots([above, above])
    assert len(manifest) == sum(len(one.manifest) for one in all_of_them.values())


def test_the_real_cine_is_there(all_of_them: dict[str, Institution]) -> None:
    mimic = all_of_them["mimic_iv_echo"]
    (clip,) = mimic.manifest[mimic.manifest["vendor"].str.contains("SonoSite")]["clip_id"]
    assert mimic.store.length(clip) == 30


def _counted(table: pd.DataFrame) -> Counter[tuple[str, str]]:
    return Counter(zip(table["kind"], table["item"], strict=True))


def _stem(item: str) -> str:
    return Path(item).name.split(".")[0]


def _fingerprint(root: Path) -> str:
    state = hashlib.sha256()
    for file in sorted(root.rglob("*")):
        state.update(f"{file}{file.stat().st_mtime_ns}".encode())
        state.update(file.read_bytes() if file.is_file() else b"")
    return state.hexdigest()
