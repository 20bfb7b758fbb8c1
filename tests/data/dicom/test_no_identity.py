"""No header string of a hospital's files is in anything that the commands write or say.

Invented people, real files and real processes. The manifest's ``path`` is the one place that names
a file, as docs/reference/de-identification.md says, and is left out here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from pydicom.dataset import Dataset

from echofm_core.data.decode import decode_clip
from echofm_core.data.dicom import header, identity
from echofm_core.phantom.institutions import Layout, write_institutions
from echofm_core.runtime.errors import UnreadableFileError
from tests.support.commands import Echofm

#: Representations whose values can tell of a person, a visit or a place.
TELLING = {"PN", "LO", "SH", "DA", "TM", "DT", "UI", "LT", "ST", "UT", "AS"}
#: What the profile keeps, and what is the same in all files of the kind.
KEPT = {"Manufacturer", "ManufacturerModelName", "SOPClassUID", "SoftwareVersions"}
PAGE = Path(__file__).parents[3] / "docs/reference/de-identification.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hospital")
    write_institutions(home / "data", {Layout.OWN_FILES: 4}, seed=3)
    return home


def told(dataset: Dataset) -> Iterator[str]:
    """Values of four characters or more; of a name, its parts too."""
    for element in dataset:
        if element.VR not in TELLING or element.keyword in KEPT:
            continue
        text = str(element.value)
        yield from (word for word in {text, *re.split(r"[\^ ]", text)} if len(word) >= 4)


def secrets(home: Path) -> set[str]:
    files = sorted((home / "data").rglob("*.dcm"))
    words = {word for file in files for word in told(pydicom.dcmread(file))}
    # "phantom" and the like are words of the software's own, too.
    words -= {"Phantom", "phantom", "Infirmary", "PHANTOM"}
    assert len(words) > 30
    return words | {f"cines/{file.name}" for file in files}


@pytest.mark.slow
def test_nothing_that_is_written_or_said_names_anybody(echofm: Echofm, home: Path) -> None:
    """index, store and doctor, their output and every byte that they write."""
    out, said = home / "out", ""
    for words in (
        ("index", home / "data", "--out", out / "m.parquet", "--findings", out / "f.csv"),
        ("store", out / "m.parquet", "--out", out / "stores", "--size", 32),
        ("doctor", home / "data", "--out", out / "doctor"),
    ):
        done = echofm("data", *words)
        assert done.returncode == 0, done.stderr
        said += done.stdout + done.stderr
    written = {
        str(file): file.read_bytes()
        for file in out.rglob("*")
        if file.is_file() and file.name != "m.parquet"
    }
    assert len(written) >= 7
    manifest = pd.read_parquet(out / "m.parquet")
    assert len(manifest) >= 4
    written["manifest"] = manifest.drop(columns="path").to_csv().encode()
    for word in secrets(home):
        assert word not in said.replace(str(home), "")
        assert not [name for name, data in written.items() if word.encode() in data], word


def test_damage_makes_no_message_that_names_anybody(home: Path, tmp_path: Path) -> None:
    """A file cut at twenty places, and with twenty bytes turned."""
    file = min((home / "data").rglob("*.dcm"))
    data, words, messages = file.read_bytes(), secrets(home), []
    for step in range(20):
        place = 132 + step * (2000 // 20)
        turned = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        for damaged in (data[:place], turned):
            copy = tmp_path / "copy.dcm"
            copy.write_bytes(damaged)
            for read in (header.read_header, identity.read_identity, _decode):
                try:
                    read(copy)
                except UnreadableFileError as error:
                    messages.append(str(error))
    assert len(messages) >= 20
    assert not [word for word in words if word in " ".join(messages)]


def _decode(file: Path) -> None:
    decode_clip(str(file), "own_files")


def test_the_page_names_every_element_that_is_asked_for() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [*header.TAGS, *identity.TAGS]
