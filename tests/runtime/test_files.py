"""A file or a folder is there whole, or as it was before."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from PIL import Image

from echofm_core.pages.template import png_bytes, write_page
from echofm_core.runtime.errors import OutputError
from echofm_core.runtime.files import (
    check_place,
    full_disk,
    is_partial,
    keep_only,
    naming_full_disk,
    naming_refused_place,
    partial_path,
    whole_folder,
    write_whole,
)
from tests.support.forks import Forks

#: A limit on the size of files cuts the content in two: the system kills the writer in the middle
#: of it, or fails its call as a full disk would. ``argv``: kind of content, where to, how it ends.
WRITER = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from echofm_core.runtime import array_files
from echofm_core.runtime.files import whole_file, whole_folder, write_whole
kind, path, end = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
signal.signal(signal.SIGXFSZ, signal.SIG_DFL if end == "killed" else signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
content = os.urandom(9000)
if kind == "bytes":
    write_whole(path, content)
elif kind == "cached":
    write_whole(path, content, durable=False)
elif kind == "stream":
    with whole_file(path, sweep=False) as partial, partial.open("wb", buffering=100) as file:
        file.write(content[:4000])
        file.write(content[4000:])
elif kind == "arrays":
    array_files.save({"encoder.norm.bias": np.zeros(3000, np.float32)}, path, {})
else:
    with whole_folder(path) as partial:
        (partial / "first").write_bytes(b"whole")
        (partial / "second").write_bytes(content)
"""

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


@pytest.mark.parametrize("end", ["killed", "failed"])
@pytest.mark.parametrize("kind", ["bytes", "cached", "stream", "arrays", "folder"])
def test_a_half_written_one_never_looks_whole(
    forks: Forks, tmp_path: Path, kind: str, end: str
) -> None:
    """What was there stays; nothing is there under the name of something new."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir() if kind == "folder" else old.write_bytes(b"before")
    for path in (old, new):
        writer = forks.start(WRITER, kind, path, end, out=Path(os.devnull))
        assert writer.wait(60) == (-signal.SIGXFSZ if end == "killed" else 1)
    left = {item.name for item in tmp_path.iterdir()} - {"old"}
    # A name of its own, which the next writer of the same file removes.
    assert all(map(is_partial, left)) and len(left) == (2 if end == "killed" else 0)
    assert not any(old.iterdir()) if kind == "folder" else old.read_bytes() == b"before"
    for path in (old, new):
        if kind == "folder":
            with whole_folder(path) as partial:
                (partial / "second").write_bytes(b"whole")
        else:
            write_whole(path, b"whole")
        content = (path / "second" if kind == "folder" else path).read_bytes()
        assert content == b"whole"
    assert {item.name for item in tmp_path.iterdir()} == {"old", "new"}


def test_what_is_durable_is_on_the_disk_before_and_after_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the calls that a power cut would test: content, rename, folder."""
    calls: list[str] = []
    sync, rename = os.fsync, Path.replace

    def noted_sync(opened: int) -> None:
        calls.append(f"fsync {Path(f'/proc/self/fd/{opened}').readlink().name}")
        sync(opened)

    def noted_rename(self: Path, target: Path) -> Path:
        calls.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_rename)
    write_whole(tmp_path / "a", b"text", durable=False)
    assert calls == ["rename"]
    write_whole(tmp_path / "a", b"text", private=True)
    assert calls == ["rename", "fsync a", "rename", f"fsync {tmp_path.name}"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    calls.clear()
    with whole_folder(tmp_path / "b") as partial:
        (partial / "x").touch()
    assert calls == ["fsync x", f"fsync .b.{os.getpid()}", f"fsync {tmp_path.name}"]


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
    write_whole(tmp_path / "a.txt", b"whole")
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


@pytest.mark.parametrize(
    ("made", "place", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Path("/runs/a"), "disk of /runs/a is"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/b"), None, "disk of /b is full"),
        (OSError(errno.EFBIG, "File too large"), None, "a disk is full"),
    ],
)
def test_a_full_disk_below_another_error_is_named(
    made: OSError, place: Path | None, words: str
) -> None:
    with pytest.raises(OutputError, match=words) as found, naming_full_disk(place):
        try:
            raise made
        except OSError as error:
            raise RuntimeError("the library's own words") from error
    assert found.value.exit_code == 32


def test_other_errors_and_our_own_stay_as_they_are() -> None:
    own = OutputError("ours, which says what it was about.")
    own.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    for error in (own, OSError(errno.EACCES, "Permission denied"), KeyError("x")):
        with pytest.raises(type(error)) as found, naming_full_disk():
            raise error
        assert found.value is error
    assert full_disk(own) is own.__cause__
    assert full_disk(own, but_of=OutputError) is None


def test_only_what_is_named_is_kept(tmp_path: Path) -> None:
    """Files, folders with what is in them, and links go; what a link points to stays."""
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home / "kept", home / "gone", other):
        folder.mkdir(parents=True)
        (folder / "file").write_text("here")
    (home / "file").write_text("here")
    (home / "link").symlink_to(other)
    keep_only(home, {"kept"})
    assert [item.name for item in home.iterdir()] == ["kept"]
    assert (home / "kept/file").exists()
    assert (other / "file").exists()


@pytest.mark.parametrize(
    ("name", "folder", "said"),
    [
        ("file", True, "is a file, and a folder is wanted"),
        ("dir", False, "is a folder, and a file is wanted"),
        ("file/a/b", True, "file is a file; choose another place"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_work(
    tmp_path: Path, name: str, folder: bool, said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dir").mkdir()
    with pytest.raises(OutputError, match=said):
        check_place(tmp_path / name, folder=folder)
    for fine, kind in (("dir", True), ("dir/new/deep", True), ("file", False), ("new.csv", False)):
        check_place(tmp_path / fine, folder=kind)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir", "file"]


def test_a_place_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system is asked about the folder that is there; to a superuser it always says yes."""
    asked = []
    monkeypatch.setattr(os, "access", lambda place, how: asked.append((place, how)))
    with pytest.raises(OutputError, match=f"no permission to write in {tmp_path};"):
        check_place(tmp_path / "new" / "run", folder=True)
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EEXIST, errno.ENOTDIR, errno.EISDIR])
def test_a_place_that_the_system_refuses_is_a_sentence(number: int) -> None:
    with pytest.raises(OutputError, match=r"/x/y cannot be used \("), naming_refused_place():
        raise OSError(number, os.strerror(number), "/x/y")


def test_other_refusals_are_none_of_a_place() -> None:
    """Of a port or a process the system names no file."""
    with pytest.raises(PermissionError), naming_refused_place():
        raise PermissionError(errno.EPERM, "Operation not permitted")
    with pytest.raises(FileNotFoundError), naming_refused_place():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "/x/y")
