"""A file is there whole, or as it was before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from PIL import Image

from echofm_core.pages.files import is_partial, partial_path, png_bytes, write_whole
from echofm_core.pages.template import write_page

CONTEXT = {
    "synthetic": "", "verdict": "<b>bold</b> & \udcff", "decoded": "", "shared_note": "",
    "parts": [], "findings": [], "open": 1, "csv": "", "charts": None, "contact_sheet": "",
    "overview": {"columns": [], "rows": [], "numbers": []}, "shared": {"rows": []},
}  # fmt: skip


def test_folder_is_made_and_content_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_whole(path, b"first")
    assert write_whole(path, b"second") == path
    assert path.read_bytes() == b"second"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


def test_nothing_is_left_behind_where_the_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a" / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        write_whole(tmp_path / "a", b"text")
    assert [item.name for item in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    """Of this name alone, and nothing of a process that still runs."""
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], check=True, stdout=-1
    )
    dead, alive = int(gone.stdout), os.getppid()
    for name in (f".a.txt.{dead}", f".a.txt.{alive}", f".b.txt.{dead}", f"a.txt.{dead}"):
        (tmp_path / name).write_text("torn")
    (tmp_path / f".c.{dead}" / "inside").mkdir(parents=True)
    write_whole(tmp_path / "a.txt", b"whole", durable=True)
    partial_path(tmp_path / "c").mkdir()
    left = {item.name for item in tmp_path.iterdir()}
    assert left == {
        "a.txt", f".a.txt.{alive}", f".b.txt.{dead}", f"a.txt.{dead}", f".c.{os.getpid()}",
    }  # fmt: skip
    assert [name for name in sorted(left) if is_partial(name)] == sorted(
        name for name in left if name[0] == "."
    )


def test_png_holds_the_pixels(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.png", png_bytes(Image.new("L", (3, 2), 77)))
    with Image.open(path) as picture:
        assert picture.size == (3, 2) and picture.getpixel((1, 1)) == 77


def test_values_are_escaped_and_broken_text_is_written_out(tmp_path: Path) -> None:
    path = write_page(tmp_path / "a.html", "echofm_core.data.doctor", "doctor.html.j2", CONTEXT)
    text = path.read_text(encoding="utf-8")
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; \\udcff" in text and "<b>bold" not in text


def test_a_name_that_is_not_given_is_an_error(tmp_path: Path) -> None:
    context = {name: value for name, value in CONTEXT.items() if name != "verdict"}
    with pytest.raises(UndefinedError, match="verdict"):
        write_page(tmp_path / "a.html", "echofm_core.data.doctor", "doctor.html.j2", context)
    assert not list(tmp_path.iterdir())
