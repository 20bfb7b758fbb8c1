"""Of all app bundles a site takes one: that of the package which is installed there."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Callable

import pytest
from flwr.cli.build import build_fab_from_files
from hypothesis import given, settings
from hypothesis import strategies as st

from client import bundle as checking
from client.bundle import CONTENTS, MOST_BYTES, SETTINGS, check_bundle
from echofm_core import __version__
from echofm_core.app_bundle import BUNDLE
from echofm_core.runtime.errors import BundleError

Files = list[tuple[str, bytes]]


def ours() -> bytes:
    """The bundle as Flower makes it of what the coordinator's folder holds."""
    return build_fab_from_files({SETTINGS: BUNDLE.encode()})[0]


def files_of(bundle: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def packed(files: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # the same name twice
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def listed(settings: str) -> Files:
    """Both files, the list of contents made to fit, as whoever forges a bundle would."""
    content = settings.encode()
    line = f"{SETTINGS},{hashlib.sha256(content).hexdigest()},{8 * len(content)}"
    return [(SETTINGS, content), (CONTENTS, line.encode())]


def refusal(bundle: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        check_bundle(bundle)
    assert hashlib.sha256(bundle).hexdigest() in str(caught.value)
    return str(caught.value)


def test_what_flower_makes_of_the_coordinators_folder_is_taken() -> None:
    check_bundle(ours())
    check_bundle(packed(listed(BUNDLE)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"client.app:app"', '"foreign:client"', "names other apps than server.app:app and client"),
        ('"server.app:app"', '"foreign:server"', "names other apps than server.app:app and client"),
        (
            ' clientapp = "client.app:app" }',
            ' clientapp = "client.app:app", agentapp = "a:b" }',
            "names other apps",
        ),
        (f'"{__version__}"', '"9.9.9"', f"of version 9.9.9, and {__version__} is installed here"),
        (f'"{__version__}"', '"9\\u001b[2J"', "it is of another version"),
        (f'"{__version__}"', "9", f"of version 9, and {__version__} is installed here"),
        ('"echofm"', '"somebody"', "its settings are not those"),
        ("resume = false", "resume = 0", "its settings are not those"),
        ("dependencies = []", 'dependencies = ["evil"]', "its settings are not those"),
        ('watch = ""', 'watch = ""\nmore = 1', "its settings are not those"),
        ("[project]", "[project", "not a plain archive"),
        ("[project]", 'project = "x"\n[other]', "it is of version None"),
    ],
)
def test_other_settings_are_refused_and_said(old: str, new: str, said: str) -> None:
    changed = BUNDLE.replace(old, new)
    assert changed != BUNDLE
    sentence = refusal(packed(listed(changed)))
    assert said in sentence and "\x1b" not in sentence


@pytest.mark.parametrize(
    "change",
    [
        lambda files: [*files, ("foreign.py", b"print(1)")],
        lambda files: [*files, ("../../client/app.py", b"print(1)")],
        lambda files: [*files, ("/etc/cron.d/x", b"* * * * * root x")],
        lambda files: [*files, files[0]],
        lambda files: [files[0], files[0]],
        lambda files: files[:1],
        lambda files: files[1:],
        lambda files: [("../pyproject.toml", files[0][1]), files[1]],
        lambda files: [("PYPROJECT.toml", files[0][1]), files[1]],
        lambda files: [],
    ],
    ids=[
        "code", "traversal", "absolute", "twice", "twice-alone", "no-list", "no-settings",
        "elsewhere", "case", "empty",
    ],
)  # fmt: skip
def test_other_files_are_refused(change: Callable[[Files], Files]) -> None:
    assert "not a plain archive of settings alone" in refusal(packed(change(files_of(ours()))))


def test_a_list_of_contents_that_does_not_fit_is_refused() -> None:
    settings, _ = files_of(ours())
    assert "list of contents" in refusal(packed([settings, (CONTENTS, b"foreign.py,00,8")]))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_grows_when_it_is_read_is_not_read(
    method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten megabytes of settings in an archive of some kilobytes: no compressed entry is opened."""
    grown = packed(listed(BUNDLE + "#" * 10_000_000), method)
    assert len(grown) < MOST_BYTES
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *words: pytest.fail("it was read"))
    assert "not a plain archive" in refusal(grown)


def test_a_large_bundle_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "zipfile", None)
    assert f"more than the {MOST_BYTES}" in refusal(b"PK" * MOST_BYTES)


@pytest.mark.parametrize("size", [0, 1, 100, 0xFFFFFFFE])
@pytest.mark.parametrize("offset", [20, 24])
def test_sizes_that_lie_are_refused(size: int, offset: int) -> None:
    """Of the first entry of the directory: its bytes in the archive, and those when read."""
    bundle = ours()
    at = bundle.index(b"PK\x01\x02") + offset
    lying = bundle[:at] + size.to_bytes(4, "little") + bundle[at + 4 :]
    assert "not a plain archive" in refusal(lying)


@given(st.binary(max_size=200))
@settings(max_examples=50)
def test_what_is_no_archive_is_refused_with_a_sentence(content: bytes) -> None:
    assert "not a plain archive" in refusal(content)


@given(st.data())
@settings(max_examples=200)
def test_a_changed_byte_is_refused_or_changes_nothing_that_is_read(data: st.DataObject) -> None:
    """A date or a flag in the archive means nothing; settings that pass are ours to the letter."""
    bundle = bytearray(ours())
    at = data.draw(st.integers(0, len(bundle) - 1))
    bundle[at] ^= data.draw(st.integers(1, 255))
    try:
        check_bundle(bytes(bundle))
    except BundleError as error:
        assert re.search(r"SHA-256 [0-9a-f]{64}, since ", str(error))
    else:
        assert files_of(bytes(bundle)) == files_of(ours())
