"""The pages on data say what the code does: kinds of finding, keys of a mapping, worked example."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from echofm_core.data.colour import ColourFlowError
from echofm_core.data.dicom.header import ObjectKind
from echofm_core.data.dicom.sector import NoSectorError
from echofm_core.data.manifest import Split
from echofm_core.data.patients import write_secret
from echofm_core.data.readers._mimic_measurements import REASONS
from echofm_core.data.readers.generic import GenericReader
from echofm_core.data.readers.mapping import MAPPED, Mapping
from echofm_core.data.readers.registry import READERS
from echofm_core.runtime.errors import UnreadableFileError
from echofm_core.tasks import AS_GRADES, VIEWS
from tests.data.files import speckle, write_avi

ROOT = Path(__file__).parents[2]
DATA_SETS = (ROOT / "docs/reference/data-sets.md").read_text(encoding="utf-8")
OWN_DATA = (ROOT / "docs/how-to/own-data.md").read_text(encoding="utf-8")
CELL = r" `(\w+)` \|"
#: What decoders raise.
RAISED = {
    (error.kind, "quarantined") for error in (UnreadableFileError, NoSectorError, ColourFlowError)
}
#: Calls whose kind is no literal, by file and expression, and what it can be there.
COMPUTED: dict[str, set[tuple[str, str]]] = {
    # of a Refusal, an Outcome or a note, which are collected where they are made
    "_dicom.py found.kind": set(),
    "_source.py found.kind": set(),
    "generic.py found.kind": set(),
    "build.py outcome.kind": set(),
    "checks.py kind": set(),
    # of dictionaries of names of videos, by kind
    "echonet_dynamic.py kind": {
        (kind, "repaired")
        for file in sorted((ROOT / "echofm_core/data/readers").glob("echonet_*.py"))
        for kind in re.findall(r'"(\w*tracing\w*)"[:\]]', file.read_text(encoding="utf-8"))
    },
    # of what a decoder raises, and of what it notes
    "parts.py error.kind": RAISED,
    "_dicom.py error.kind": RAISED,
    "generic.py error.kind": RAISED,
    "build.py note.kind": {
        ("burnt_in", "noted"),
        *((kind, "repaired") for kind in ("burnt_in", "damaged_frames", "truncated_clip")),
    },
    # of a table or an enumeration
    "_mimic_measurements.py kind": {(kind, how.value) for kind, (how, _) in REASONS.items()},
    "_dicom.py header.kind.value": {
        (kind.value, "quarantined") for kind in ObjectKind if kind is not ObjectKind.CINE
    },
    "_source.py kind": {("label_out_of_range", "repaired"), ("looks_like_fraction", "repaired")},
    "own_table.py LIKE_A_FRACTION": {("looks_like_fraction", "repaired")},
    # of a column
    "generic.py f'unknown_{column}'": {
        ("unknown_view", "repaired"),
        ("unknown_split", "repaired"),
    },
}
#: ``_note`` functions, by file: where the kind stands, and the severity that they give.
NOTES = {"checks.py": (2, "noted")}


def kinds_in_code() -> dict[str, set[str]]:
    """Kind -> severities, of every call in the core that makes a finding."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in (ROOT / "echofm_core").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call):
                for kind, severity in kinds_of(call, file.name):
                    found[kind].add(severity)
    return dict(found)


def kinds_of(call: ast.Call, file: str) -> Iterator[tuple[str, str]]:
    name, arguments = ast.unparse(call.func), call.args
    severity = "quarantined"
    if name.endswith("findings.add"):
        written = next((item.value for item in call.keywords if item.arg == "severity"), None)
        written = arguments[4] if len(arguments) > 4 else written
        severity = "quarantined" if written is None else ast.unparse(written).split(".")[-1].lower()
        kind = arguments[1]
    elif name.endswith((".quarantined", ".repaired", ".noted")) and len(arguments) == 3:
        kind, severity = arguments[0], name.rpartition(".")[2]
    elif name == "Refusal":
        kind = arguments[0]
    elif name == "Outcome":
        kinds = [item.value for item in call.keywords if item.arg == "kind"]
        if not kinds:
            return
        (kind,) = kinds
    elif name.endswith("_note"):
        place, severity = NOTES[file]
        kind = arguments[place]
    else:
        return
    if isinstance(kind, ast.Constant):
        yield str(kind.value), severity
    else:
        yield from COMPUTED[f"{file} {ast.unparse(kind)}"]


def test_every_kind_of_finding_has_its_row_and_severity() -> None:
    rows = re.findall(rf"^\|{CELL} ([a-z ]+) \| [^|]+ \| [^|]+ \|$", DATA_SETS, re.M)
    assert {kind: set(severity.split(" or ")) for kind, severity in rows} == kinds_in_code()
    assert [kind for kind, _ in rows] == sorted(kind for kind, _ in rows)


def test_every_kind_named_in_prose_is_one() -> None:
    named = re.findall(r"\(`([a-z]+_[a-z_]+)`", DATA_SETS + OWN_DATA)
    assert set(named) <= set(kinds_in_code()) and len(named) > 20


def test_every_reader_has_its_section() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\(#([\w-]+)\)", DATA_SETS, re.M)
    heads = re.findall(r"^## (.+)$", DATA_SETS, re.M)
    anchors = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads}
    assert {name for name, _ in rows} == {reader.dataset for reader in READERS} - {"generic"}
    assert {anchor for _, anchor in rows} <= anchors


def test_every_key_of_a_mapping_and_every_column_is_explained() -> None:
    keys, columns = OWN_DATA.split("### Columns that can be mapped")
    explained = re.findall(r"^\| `\[?(\w+)\]?` \| (?:yes|no|with a table) \|", keys, re.M)
    assert explained == list(Mapping.model_fields)
    table = columns.split("\n\nNumbers")[0]
    rows = re.findall(r"^\| (`.+`) \|", table, re.M)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(MAPPED)
    assert all(word in table for word in (*VIEWS, *Split))
    assert all(f"{grade} {name.replace('_', ' ')}" in table for grade, name in enumerate(AS_GRADES))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", OWN_DATA, re.M | re.S)


def test_every_mapping_on_the_page_is_valid() -> None:
    mappings = [Mapping.model_validate(tomllib.loads(block)) for block in blocks("toml")]
    assert len(mappings) == 4
    assert {key for mapping in mappings for key in mapping.model_fields_set} == set(
        Mapping.model_fields
    )


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The folder of the page's example, as the page has it but for the place of the secret."""
    root = tmp_path / "export"
    (root / "cines").mkdir(parents=True)
    for number in (1, 2, 3):
        write_avi(root / f"cines/000{number}.avi", speckle(10, seed=number))
    write_secret(tmp_path / "north.secret")
    (root / "export.csv").write_text(blocks("csv")[0])
    mapping = blocks("toml")[0].replace("/etc/echofm", tmp_path.as_posix())
    (root / "echofm.toml").write_text(mapping)
    return root


def test_the_example_reads_as_the_page_says(export: Path) -> None:
    """Patient 4711 has two clips; 4712 is 93, so 90, and has no EF."""
    manifest, findings = GenericReader().read(export)
    assert findings.items == []
    assert manifest["view"].tolist() == ["A4C", "A2C", "A4C"]
    assert manifest["split"].tolist() == ["train", "train", "test"]
    assert manifest["ef"].fillna(-1).tolist() == [55.5, 55.5, -1]
    assert manifest["sex"].tolist() == ["F", "F", "M"]
    assert manifest["age"].tolist() == [61, 61, 90]
    assert manifest["patient_id"].nunique() == manifest["study_id"].nunique() == 2
    assert not manifest.drop(columns="path").to_csv().count("4711")


def test_the_page_draws_a_split_where_there_is_none(
    export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echofm_core.data.manifest import load_manifest, save_manifest

    manifest, _ = GenericReader().read(export)
    manifest["split"] = None
    save_manifest(manifest.astype({"split": "string"}), export.parent / "manifest.parquet")
    monkeypatch.chdir(export.parent)
    exec(compile(blocks("python")[0], "own-data.md", "exec"), {})
    assert load_manifest(Path("site.parquet"))["split"].notna().all()
