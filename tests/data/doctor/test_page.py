"""The files of a diagnosis: whole, self-contained, safe to open, silent about private names."""

import base64
import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.decode import decode_clip
from echofm_core.data.doctor.count import summary
from echofm_core.data.doctor.examine import Diagnosis
from echofm_core.data.doctor.page import LISTED, findings_csv, listings, to_json, write_page
from echofm_core.data.findings import Severity
from echofm_core.data.readers.registry import read_roots
from echofm_core.data.resize import letterbox
from echofm_core.phantom.institutions import Layout, write_institutions
from tests.data.doctor.made import FINDINGS, PRIVATE, made, nothing
from tests.pages.html import assert_self_contained, words_of

FILES = ["contact_sheet.png", "doctor.html", "doctor.json", "findings.csv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(made(synthetic=True), tmp_path_factory.mktemp("made") / "new").parent


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "doctor.html").read_text(encoding="utf-8")


def many_findings(**counts: int) -> pd.DataFrame:
    rows = [
        ("camus", kind, f"{kind}-{number}.avi", "Why.", "quarantined")
        for kind, count in counts.items()
        for number in range(count)
    ]
    return pd.DataFrame(rows, columns=list(FINDINGS.columns), dtype="string")


def test_four_files_and_nothing_else(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FILES


def test_the_page_stands_alone(page: str) -> None:
    """One chart, one sheet."""
    assert_self_contained(page)
    assert page.count('src="data:image/svg+xml;base64,') == 1
    assert page.count('src="data:image/png;base64,') == 1


def test_the_picture_on_the_page_is_the_file(folder: Path, page: str) -> None:
    content = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert content and base64.b64decode(content[1]) == (folder / "contact_sheet.png").read_bytes()


def test_page_json_and_csv_say_the_same(folder: Path, page: str) -> None:
    text = (folder / "doctor.json").read_text()
    assert text == to_json(summary(made(synthetic=True)), FINDINGS)
    assert json.loads(text)["verdict"] in page
    assert len(list(csv.DictReader(io.StringIO((folder / "findings.csv").read_text())))) == 6


def test_the_verdict_comes_first(page: str) -> None:
    text = words_of(page)
    start = text.index("Data diagnosis", 20)
    assert text[start:].startswith(
        "Data diagnosis 7 clips can be used; 3 files or rows are quarantined, 2 repaired, 1 noted: "
        "4 kinds of trouble. Decoded 4 of 7 clips. SYNTHETIC"
    )
    titles = [text.index(title) for title in ("Quarantined: 3", "Repaired: 2", "Noted: 1")]
    assert titles == sorted(titles)


def test_only_phantoms_are_called_synthetic(tmp_path: Path) -> None:
    assert "SYNTHETIC" not in write_page(made(), tmp_path).read_text()


def test_data_sets_have_their_numbers(page: str) -> None:
    text = words_of(page)
    for part in (
        "camus 4 clips of 3 patients in 3 studies; 3 decoded. EF is under 50 % in 67 % of those",
        "view A4C 3 A2C 1",
        "EF (%) 3 1 40.0 40.0 40.0 46.7 11.5 58.0 60.0",
        "lost None of its clips can be used.",
        "Files appear under hashed names.",
        "Not known of any clip: view, split, sex.",
        "data set split and data set split patients camus test north unknown 1",
    ):
        assert part in text


def test_hostile_names_are_text(page: str) -> None:
    assert "Videos/&lt;script&gt;alert(1)&lt;/script&gt;.avi" in page
    assert "&lt;b&gt;Acme&lt;/b&gt;\\x1b[2J" in page and "<b>Acme" not in page
    assert "Videos/\\x1b[31mred[/bold][red]\\u202e.avi" in page
    assert "\x1b" not in page and "\u202e" not in page


def test_nothing_private_is_written(folder: Path, page: str) -> None:
    texts = [page, *((folder / name).read_text() for name in ("doctor.json", "findings.csv"))]
    for word in (*PRIVATE, "camus-clip-1", "/data/"):
        assert not any(word in text for text in texts)


def test_no_kind_crowds_out_another() -> None:
    """700 of one kind and 3 of another, 500 places: dealt in turn, 497 and 3."""
    first, second = listings(many_findings(rare=3, common=700), Severity.QUARANTINED)
    assert (first.kind, first.count, len(first.rows)) == ("common", 700, LISTED - 3)
    assert (second.kind, second.count, len(second.rows)) == ("rare", 3, 3)


def test_what_is_not_listed_is_counted_and_in_the_csv(tmp_path: Path) -> None:
    findings = many_findings(common=700, rare=3)
    page = write_page(made(findings=findings), tmp_path).read_text()
    assert "And 203 more in findings.csv." in words_of(page)
    assert page.count("common-") == LISTED - 3
    assert len((tmp_path / "findings.csv").read_text().splitlines()) == 704


def test_reasons_of_a_kind_are_counted_where_there_are_several(tmp_path: Path) -> None:
    """Of 703 findings the one with another reason is the last: it is not listed, but counted."""
    findings = many_findings(common=703)
    findings.loc[702, "reason"] = "Another."
    text = words_of(write_page(made(findings=findings), tmp_path).read_text())
    assert "common (703) 702: Why. 1: Another. camus common-0.avi" in text
    same = words_of(write_page(made(findings=many_findings(common=703)), tmp_path).read_text())
    assert "common (703) camus common-0.avi" in same


@pytest.mark.parametrize("item", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_of_the_csv_is_a_formula(item: str) -> None:
    text = findings_csv(FINDINGS.head(1).assign(item=item)).decode()
    assert next(iter(csv.DictReader(io.StringIO(text))))["item"] == f"'{item}"


def test_the_same_diagnosis_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_page(made(synthetic=True), tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_nothing_at_all_is_a_page_too(tmp_path: Path) -> None:
    text = words_of(write_page(nothing(), tmp_path).read_text())
    assert "There are no clips." in text and text.count("Nothing.") == 3


def test_phantoms_for_real(tmp_path: Path) -> None:
    """Three patients of two layouts, one of them a hospital's own: every finding is on the page
    once, and no id of the hospital is."""
    roots = write_institutions(tmp_path, {Layout.CAMUS: 3, Layout.OWN_FILES: 3}, seed=3)
    manifest, findings = read_roots(roots)
    facts, pictures = [], {}
    for row in manifest.itertuples():
        try:
            clip = decode_clip(row.path, row.dataset)
        except Exception:  # what cannot be decoded is planted
            continue
        frames, height, width = clip.frames.shape
        pictures[row.clip_id] = letterbox(clip.frames[frames // 2 :][:1], 112)[0]
        grey = float(clip.frames[:, clip.sector].mean())
        facts.append((row.clip_id, frames, clip.fps, height, width, clip.sector.mean(), grey))
    columns = ["clip_id", "frames", "fps", "height", "width", "sector", "grey"]
    diagnosis = Diagnosis(
        manifest=manifest,
        findings=findings.table(),
        decoded=pd.DataFrame(facts, columns=columns).set_index("clip_id").astype(float),
        thumbnails=pictures,
        synthetic=True,
        public=frozenset({"camus"}),
    )
    page = write_page(diagnosis, tmp_path / "out").read_text()
    assert_self_contained(page)
    listed = re.findall(r"<tr><td>(.+?)</td><td>(.+?)</td><td>(.+?)</td></tr>", page)
    for row in findings.table().itertuples():
        assert sum(cells[:2] == (row.dataset, row.item) for cells in listed) >= 1
    assert len(listed) == len(findings.items)
    own = manifest[manifest["dataset"] != "camus"]
    for word in {*own["patient_id"], *own["study_id"], *own["path"]}:
        assert word not in page
