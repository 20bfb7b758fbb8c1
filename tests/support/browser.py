"""Pages in a real browser: the system's Chromium, without a window."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is on the PATH; apt-get install chromium brings it"
)
WIDTHS = (360, 800, 1400)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Takes a second to start: one for all tests of a file."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


def opened(browser: Browser, address: str) -> tuple[Page, list[str]]:
    """A page, and what it writes to the console from now on, errors of its policy among it."""
    said: list[str] = []
    page = browser.new_page(viewport={"width": 800, "height": 700})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    return page, said


def assert_fits_and_is_accessible(page: Page) -> None:
    """In light and dark: no page wider than its window, and nothing that axe-core finds."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in reversed(WIDTHS):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        found = Axe().run(page).response["violations"]  # narrow: here tables scroll
        assert not found, json.dumps(found, indent=1)[:3000]
