"""What a hospital's table says: units, paths and rows as people write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from echofm_core.data.findings import Finding
from echofm_core.data.readers._source import Source
from echofm_core.data.readers.mapping import Mapping
from echofm_core.data.readers.own_table import Entry, read_entries

COLUMNS = {"path": "File", "patient_id": "MRN", "ef": "EF", "edv": "EDV", "view": "View"}


def read(
    folder: Path,
    rows: str,
    there: tuple[str, ...] = ("a.avi",),
    separator: str = ",",
    **more: object,
) -> tuple[list[Entry], list[Finding]]:
    """Entries and findings of a table of these rows, of which findings name files by number."""
    head = separator.join(COLUMNS.values())
    (folder / "list.csv").write_text(f"{head}\n{rows}", encoding="utf-8")
    mapping = Mapping.model_validate(
        {"dataset": "north", "secret": "-", "table": "list.csv", "columns": COLUMNS, **more}
    )
    source = Source("north", folder)
    entries = read_entries(source, mapping, there, lambda path: f"file {len(path)}")
    return entries, source.findings.items


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def test_decimal_commas_become_points_and_are_noted(tmp_path: Path) -> None:
    entries, found = read(tmp_path, "a.avi;7;55,5;120,25;4CH\n", separator=";")
    assert (entries[0].values["ef"], entries[0].values["edv"]) == ("55.5", "120.25")
    assert kinds(found) == ["table_form"]
    assert "semicolons between cells, decimal commas in `ef`, decimal commas in `edv`" in (
        found[0].reason
    )


def test_a_comma_before_three_digits_is_decimal_where_no_cell_has_a_point(tmp_path: Path) -> None:
    there = ("a.avi", "b.avi")
    entries, _ = read(tmp_path, "a.avi;7;55,555;;\nb.avi;8;60;;\n", there, separator=";")
    assert entries[0].values["ef"] == "55.555"
    entries, _ = read(tmp_path, "a.avi;7;55,555;;\nb.avi;8;60.5;;\n", there, separator=";")
    assert entries[0].values["ef"] == "55,555"


@pytest.mark.parametrize(
    ("units", "expected", "found"),
    [
        ({}, ["", ""], ["looks_like_fraction"]),
        ({"units": {"ef": "fraction"}}, ["55.5", "60"], []),
        ({"units": {"ef": "percent"}}, ["0.555", "0.6"], []),
    ],
)
def test_a_column_of_fractions_is_read_where_the_mapping_says_so(
    tmp_path: Path, units: dict[str, object], expected: list[str], found: list[str]
) -> None:
    there, rows = ("a.avi", "b.avi"), "a.avi,7,0.555,,\nb.avi,8,0.6,,\n"
    entries, findings = read(tmp_path, rows, there, **units)
    assert [entry.values["ef"] for entry in entries] == expected
    assert kinds(findings) == found


def test_a_column_that_has_one_percentage_is_no_column_of_fractions(tmp_path: Path) -> None:
    entries, found = read(tmp_path, "a.avi,7,0.5,,\nb.avi,8,55,,\n", ("a.avi", "b.avi"))
    assert [entry.values["ef"] for entry in entries] == ["0.5", "55"]
    assert not found


def test_paths_in_other_capitals_or_forms_find_their_file(tmp_path: Path) -> None:
    """As macOS writes names (NFD), and as spreadsheets do."""
    there = ("Cines/Müller.AVI", "Cines/b.avi", "c.avi")
    rows = (
        f"{unicodedata.normalize('NFD', 'cines/müller.avi')},7,,,\n.\\CINES\\B.avi,8,,,\n"
        "./c.avi,9,,,\n"
    )
    entries, found = read(tmp_path, rows, there)
    assert [entry.relative for entry in entries] == list(there)
    assert kinds(found) == ["path_spelling"]
    assert found[0].reason.startswith("2 rows")


def test_where_two_files_fit_none_is_taken(tmp_path: Path) -> None:
    entries, _ = read(tmp_path, "A.AVI,7,,,\n", ("a.avi", "A.avi"))
    assert entries[0].relative == "A.AVI"


def test_rows_that_disagree_lose_what_they_disagree_about(tmp_path: Path) -> None:
    rows = "a.avi,7,55.5,100,4CH\na.avi,7,12,100.0,4ch\n"
    (entry,), found = read(tmp_path, rows)
    assert entry.values == {
        "path": "a.avi",
        "patient_id": "7",
        "ef": "",
        "edv": "100",
        "view": "4CH",
    }
    assert entry.row == 0
    assert kinds(found) == ["rows_disagree"]
    assert "`ef`" in found[0].reason


def test_rows_that_fill_each_other_agree(tmp_path: Path) -> None:
    (entry,), found = read(tmp_path, "a.avi,7,55.5,,\na.avi,7,,100,\n")
    assert (entry.values["ef"], entry.values["edv"]) == ("55.5", "100")
    assert kinds(found) == ["duplicate_row"]


def test_a_file_of_two_patients_is_not_used(tmp_path: Path) -> None:
    entries, found = read(tmp_path, "a.avi,7,55,,\nA.AVI,8,55,,\n")
    assert not entries
    assert [(item.kind, item.severity.value) for item in found] == [
        ("path_spelling", "repaired"),
        ("rows_disagree", "quarantined"),
    ]


def test_rows_without_a_file_are_counted_and_stand_for_none(tmp_path: Path) -> None:
    entries, found = read(tmp_path, "a.avi,7,55,,\n,8,50,,\n,9,40,,\n,,,,\n")
    assert [entry.relative for entry in entries] == ["a.avi"]
    assert [(item.kind, item.reason) for item in found] == [("bad_path", "2 rows name no file.")]
