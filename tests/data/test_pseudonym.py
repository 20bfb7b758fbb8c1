from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from echofm_core.data.patients import new_secret, pseudonym, read_secret, write_secret
from echofm_core.runtime.errors import DataRootError


def test_it_is_hmac_sha256() -> None:
    """Against the standard library, on the message that the docstring gives."""
    expected = hmac.new(b"k" * 32, b"patient\x1fMRN-1", hashlib.sha256).hexdigest()[:16]
    assert pseudonym(b"k" * 32, "patient", " MRN-1 ") == expected


def test_kinds_and_secrets_give_other_ids() -> None:
    ids = {pseudonym(secret, kind, "1") for secret in (b"a" * 32, b"b" * 32) for kind in "ps"}
    assert len(ids) == 4
    assert new_secret() != new_secret()


def test_a_secret_is_written_once_and_for_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "site.secret"
    write_secret(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(read_secret(file)) == 32
    before = file.read_bytes()
    with pytest.raises(DataRootError, match="there already"):
        write_secret(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no hex", b"abcd", b"\xff\xfe"])
def test_a_bad_secret_is_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "s"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataRootError, match="echofm data secret"):
        read_secret(file)
