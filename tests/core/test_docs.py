"""Documents name files that are there, and the picture is the one that its script draws."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
EXPLANATION = ROOT / "docs/explanation"
PICTURE = EXPLANATION / "architecture_picture.py"
#: A path within the repository; ``NAME`` in it stands for a file yet to be written.
NAMED = re.compile(r"\b(?:echofm_core|client|server|simulations|tests|benchmarks|docs)/[\w./-]+")
LINKED = re.compile(r"\]\((?!https?:|#)([^)#]+)")
#: A heading that is linked to, and the page that has it; no page: the same one.
HEADING_LINK = re.compile(r"\]\((?!https?:)([^)#]*)#([^)]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [word.rstrip(".") for word in NAMED.findall(text) if "NAME" not in word]
    missing = [word for word in named if not (ROOT / word).exists()]
    missing += [link for link in LINKED.findall(text) if not (page.parent / link).exists()]
    assert not missing


def slugs(page: Path) -> set[str]:
    """What GitHub calls a page's headings in addresses."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_headings_that_a_page_links_to_are_there(page: Path) -> None:
    for other, heading in HEADING_LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / other).resolve() if other else page
        assert heading in slugs(target), f"{other}#{heading}"


def test_the_picture_is_what_its_script_draws_and_names_files_that_are_there() -> None:
    drawn = runpy.run_path(str(PICTURE))["picture"]()
    assert (EXPLANATION / "architecture.svg").read_text(encoding="utf-8") == drawn
    files = re.findall(r'class="file"[^>]*>([^<]+)<', drawn)
    assert len(files) > 15
    roots = (ROOT, ROOT / "echofm_core")
    for name in (part for file in files for part in file.split(" · ")):
        assert any((root / name).exists() for root in roots), name
