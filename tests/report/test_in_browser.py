"""Pages of a run, a study, two runs side by side and a data diagnosis, in a real browser."""

from __future__ import annotations

import base64
import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from echofm_core.data.doctor.page import write_page as write_diagnosis
from echofm_core.report.export import export
from echofm_core.report.page import write_report
from echofm_core.report.points import agreement_points
from echofm_core.report.run_files import read_run
from tests.data.doctor.made import made as diagnosis
from tests.report.made_run import write_made_label_study, write_made_run, write_made_study
from tests.support.browser import (
    assert_fits_and_is_accessible,
    chromium,
    needs_chromium,
    opened,
)

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    runs = [write_made_run(home / "run", small=True), write_made_study(home / "study")]
    list(export(runs, None, predictions=False, out=home))
    labels = write_made_label_study(home / "labels")
    list(export([labels], None, predictions=False, out=None))
    write_diagnosis(diagnosis(synthetic=True), home / "doctor")
    return home


@pytest.fixture(scope="module")
def page(browser: Browser, home: Path) -> Page:
    return opened(browser, (home / "run" / "report.html").as_uri())[0]


@pytest.mark.parametrize(
    "name",
    [
        "run/report.html",
        "study/report.html",
        "labels/report.html",
        "side-by-side.html",
        "doctor/doctor.html",
    ],
)
def test_a_page_fits_is_accessible_and_has_nothing_to_complain_of(
    browser: Browser, home: Path, name: str
) -> None:
    page, said = opened(browser, (home / name).as_uri())
    assert_fits_and_is_accessible(page)
    page.pdf()
    assert said == []


def column(table: Locator, index: int) -> list[str]:
    return table.locator(f"tbody tr td:nth-child({index})").all_inner_texts()


def test_a_click_sorts_by_number_and_the_third_restores(page: Page) -> None:
    """Patients of five sites: 40 to train, 5 to validate and 12 to test; as words 12 is first."""
    table = page.get_by_role("table", name="Sites and splits")
    button = table.get_by_role("button", name="patients")
    header = table.get_by_role("columnheader", name="patients")
    before = column(table, 5)
    assert before == ["40", "5", "12"] * 5
    button.click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    assert column(table, 5) == ["5"] * 5 + ["12"] * 5 + ["40"] * 5
    button.click()
    expect(header).to_have_attribute("aria-sort", "descending")
    assert column(table, 5) == ["40"] * 5 + ["12"] * 5 + ["5"] * 5
    button.click()
    assert header.get_attribute("aria-sort") is None and column(table, 5) == before


def test_the_keyboard_sorts_too_and_what_is_no_number_stays_last(page: Page) -> None:
    """Noise multipliers: camus' is unknown, tmed2's is 1.10."""
    table = page.get_by_role("table", name="Privacy")
    table.get_by_role("button", name="noise multiplier").focus()
    for key in ("Enter", " "):
        page.keyboard.press(key)
        assert column(table, 4) == ["1.10", "unknown"]


def test_below_a_header_of_two_rows_the_right_column_is_sorted(page: Page) -> None:
    """Rows of tasks without labels have one wide cell, and stay last."""
    table = page.get_by_role("table", name="What was found")
    shown = "tbody td:nth-of-type(3) b"
    values = [float(text) for text in table.locator(shown).all_inner_texts()]
    table.get_by_role("button", name="mean over sites").first.click()
    assert [float(text) for text in table.locator(shown).all_inner_texts()] == sorted(values)
    assert "nobody has labels" in table.locator("tbody tr").last.inner_text()


def test_a_chart_says_its_values_to_pointer_and_keyboard(page: Page, home: Path) -> None:
    """The first point of the EF scatter is the first study: by arrow key, and at its dot."""
    points = agreement_points(read_run(home / "run").predictions)
    first = points[points["model"] == "federated"].iloc[0]
    expected = (
        f"federated: reference EF (%) {first['truth']:.4g}, "
        f"predicted EF (%) {first['prediction']:.4g}"
    )
    chart = page.locator("figure", has_text="camus").locator("[data-marks]")
    says = chart.get_by_role("status")
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(says).to_have_text(expected)
    page.keyboard.press("Escape")
    expect(says).to_have_text("")
    box = chart.bounding_box()
    assert box is not None
    left, top = first_dot(chart.locator("img").get_attribute("src") or "")
    page.mouse.move(box["x"] + left * box["width"], box["y"] + top * box["height"])
    expect(says).to_have_text(expected)


def test_a_logarithmic_chart_says_its_values_where_they_are_drawn(
    browser: Browser, home: Path
) -> None:
    """Shares of 1, 10 and 100 % lie evenly: the second point is half way from the first to the
    third, and the pointer there gets its value."""
    page, said = opened(browser, (home / "labels/report.html").as_uri())
    chart = page.locator("figure", has_text="label-fraction-ef-mae").locator("[data-marks]")
    says, ring = chart.get_by_role("status"), chart.locator("i")
    chart.scroll_into_view_if_needed()
    chart.focus()
    centres = []
    for share, value in ((1, 12), (10, 10), (100, 8)):
        page.keyboard.press("ArrowRight")
        expect(says).to_contain_text(f"labelled training patients used (%) {share}, ")
        expect(says).to_contain_text(f"EF MAE (points) {value}")
        box = ring.bounding_box()
        assert box is not None
        centres.append((box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
    (first, _), (second, height), (third, _) = centres
    assert second == pytest.approx((first + third) / 2, abs=1)
    page.keyboard.press("Escape")
    page.mouse.move(second, height)
    expect(says).to_contain_text("used (%) 10, EF MAE (points) 10")
    assert said == []


def first_dot(uri: str) -> tuple[float, float]:
    """Where matplotlib put the first dot of the first scatter, as shares of the picture."""
    picture = base64.b64decode(uri.partition(",")[2]).decode()
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', picture)
    dot = re.search(r'id="PathCollection_1".*?<use [^>]*x="([\d.]+)" y="([\d.]+)"', picture, re.S)
    assert size and dot
    return float(dot[1]) / float(size[1]), float(dot[2]) / float(size[2])


def test_the_data_of_a_figure_can_be_saved(page: Page, home: Path) -> None:
    with page.expect_download() as download:
        page.get_by_role("link", name="agreement-ef-camus.csv").click()
    assert download.value.suggested_filename == "agreement-ef-camus.csv"
    with download.value.path().open() as file:
        rows = list(csv.DictReader(file))
    points = agreement_points(read_run(home / "run").predictions)
    points = points[(points["site"] == "camus") & (points["model"] == "federated")]
    assert [float(row["truth"]) for row in rows] == points["truth"].tolist()
    assert {row["model"] for row in rows} == {"federated"}


def test_nothing_is_folded_on_paper(page: Page) -> None:
    """Not even without a script, where the event before printing changes nothing."""
    folded = page.locator("details:not([open]) table").first
    expect(folded).to_be_hidden()
    page.emulate_media(media="print")
    expect(folded).to_be_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(folded).to_be_hidden()


def test_on_paper_two_models_are_named_once_above_all_that_is_compared(
    browser: Browser, home: Path
) -> None:
    """Four comparisons at camus and the same four at tmed2, site by site in the file: eight rows,
    of which every other names a pair. Rows that a reader has sorted stand in another order, so that
    each has its names again."""
    run = Path(shutil.copytree(home / "run", home / "two-sites"))
    paired = pd.read_parquet(run / "paired.parquet")
    pd.concat([paired, paired.assign(site="tmed2")]).to_parquet(run / "paired.parquet")
    page, _ = opened(browser, write_report(run).as_uri())
    table = page.get_by_role("table", name="Paired comparisons", include_hidden=True)
    rows = table.locator("tbody tr")
    expect(rows).to_have_count(8)

    def shown() -> list[int]:
        return [n for n, row in enumerate(rows.all()) if row.locator("td.name").first.is_visible()]

    page.emulate_media(media="print")
    assert shown() == [0, 2, 4, 6]
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown() == list(range(8))
    table.get_by_role("button", name="n", exact=True).click()
    page.emulate_media(media="print")
    assert shown() == list(range(8))


def test_the_first_tab_skips_to_the_content_and_tables_scroll_with_the_keyboard(
    browser: Browser, home: Path
) -> None:
    page, _ = opened(browser, (home / "run" / "report.html").as_uri())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.set_viewport_size({"width": 360, "height": 700})
    region = page.get_by_role("region", name="What was found")
    region.focus()
    expect(region).to_have_css("outline-style", "solid")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("region => region.scrollLeft > 0", arg=region.element_handle())
