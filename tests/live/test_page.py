"""The page in a real browser, while a simulation goes on and when it was killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from echofm_core.live import run_data
from echofm_core.live.show import run_source
from echofm_core.live.web import serving
from tests.live.made import running
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


def test_the_page_follows_a_run_and_says_when_it_was_killed(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One browser and one run for all that a page must do, as both take seconds to start."""
    with running(tmp_path / "run") as process, serving(run_source(tmp_path / "run")) as address:
        page, said = opened(browser, address)
        expect(page.locator("#state")).to_have_text("running")
        assert "token" not in page.url
        expect(page.get_by_role("table", name="Sites")).to_contain_text("north")
        refusals = page.get_by_role("table", name="Updates that did not count")
        expect(refusals.get_by_role("row", name="west-nan")).to_contain_text("finite")
        expect(page.get_by_role("status")).to_contain_text(
            "Pre-training, round",
            timeout=20_000,  # what is read aloud changes at most every 5 s
        )
        expect(page.get_by_role("img", name="pretrain, rounds 1 to")).to_be_visible(timeout=20_000)
        _moves(page)
        _keyboard(page)
        assert_fits_and_is_accessible(page)
        process.kill()
        process.wait()
        monkeypatch.setattr(run_data, "STALE", 0.5)
        expect(page.locator("#state")).to_have_text("orphaned", timeout=20_000)
        expect(page.get_by_role("table", name="Sites")).not_to_contain_text("training")
        assert said == [], "errors of the page, or of its policy"
    expect(page.locator("#problem")).to_be_visible(timeout=20_000)


def _moves(page: Page) -> None:
    """A further round comes by itself, and the table keeps its cells."""
    page.evaluate("window.kept = document.querySelector('#now tbody th')")
    bar = page.get_by_role("progressbar", name="rounds")
    expect(bar).not_to_have_attribute("value", bar.get_attribute("value") or "", timeout=20_000)
    assert page.evaluate("window.kept.isConnected"), "who reads a cell does not lose it"
    cells = page.evaluate(COLUMN_COMES)
    assert cells == [True, "", "new", "training", "training"], "a column that comes later"


#: Shows the table of sites with a new column before the one of states, and what its first row is
#: then: still the same cell, no state left in the new cell, and a state in the next, once.
COLUMN_COMES = """() => {
  const table = structuredClone(shown.tables[0]);
  table.states = 2;
  table.grid.columns.splice(1, 0, "column");
  for (const row of table.grid.rows) row.splice(1, 1, "new", "training");
  showTables("now", [table]);
  const [, second, third] = document.querySelector("#now tbody tr").children;
  const chip = third.querySelector(".state");
  return [window.kept.isConnected, second.className, second.innerHTML,
          third.textContent, chip.textContent];
}"""


def _keyboard(page: Page) -> None:
    """Tables that scroll can be reached and moved without a mouse."""
    page.set_viewport_size({"width": 360, "height": 700})
    page.keyboard.press("Tab")
    region = page.get_by_role("region", name="Sites")
    expect(region).to_be_focused()
    page.keyboard.press("ArrowRight")
    deadline = time.monotonic() + 20
    while not region.evaluate("region => region.scrollLeft"):
        assert time.monotonic() < deadline, "it does not scroll"
