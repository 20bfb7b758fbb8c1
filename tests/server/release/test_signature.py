"""A signed folder: one changed byte fails, so do a file more or less and another signer."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from echofm_core.runtime.errors import EnvironmentClashError, ReleaseError
from server.release import signature
from server.release.signature import PUBLIC, differing, sign, signing_key, verify

FILES = ("RELEASE.md", "model/model.safetensors", "plan.toml")


@dataclass
class Signed:
    """A coordinator's folder, and one that was signed there."""

    fed: Path
    folder: Path

    @property
    def key(self) -> Path:
        return self.fed / "release.key"

    @property
    def public(self) -> Path:
        return self.fed / "release.pub"


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    made = Signed(tmp_path / "fed", tmp_path / "folder")
    (made.folder / "model").mkdir(parents=True)
    made.fed.mkdir()
    (made.fed / "server.toml").write_text("")
    for name in FILES:
        (made.folder / name).write_text(f"what stands in {name}")
    (made.folder / PUBLIC).write_text(signing_key(made.key))
    sign(made.folder, made.key)
    return made


def change(name: str) -> Callable[[Path], None]:
    def one_byte(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return one_byte


def link(folder: Path) -> None:
    (folder / "plan.toml").rename(folder.parent / "plan.toml")
    (folder / "plan.toml").symlink_to(folder.parent / "plan.toml")


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        *((change(name), name) for name in (*FILES, "release.sig")),
        (lambda folder: (folder / "model/more.txt").write_text("x"), "model/more.txt"),
        (lambda folder: (folder / ".gitignore").write_text("x"), ".gitignore"),
        (lambda folder: (folder / "sub").mkdir(), "sub"),
        (lambda folder: (folder / "plan.toml").unlink(), "plan.toml"),
        (lambda folder: (folder / "release.sig").unlink(), "release.sig"),
        (lambda folder: (folder / "release.sig").write_text("{}"), "folder"),
        (link, "plan.toml"),
    ],
)
def test_what_was_changed_fails_by_its_name(
    signed: Signed, tamper: Callable[[Path], object], named: str
) -> None:
    assert verify(signed.folder, signed.public) == verify(signed.folder)
    tamper(signed.folder)
    with pytest.raises(ReleaseError) as told:
        verify(signed.folder, signed.public)
    sentence = str(told.value)
    assert named in sentence and "\n" not in sentence and "Digest(" not in sentence


def test_a_folder_may_be_renamed(signed: Signed, tmp_path: Path) -> None:
    before = verify(signed.folder, signed.public)
    filed = Path(shutil.move(signed.folder, tmp_path / "filed"))
    assert verify(filed, signed.public) == before


def test_a_folder_that_somebody_else_signed_fails_by_the_signers_key(
    signed: Signed, tmp_path: Path
) -> None:
    """With the key in the folder it passes, which is why the command says to compare it."""
    other = private_key(tmp_path / "other.key", ec.generate_private_key(ec.SECP256R1()))
    (signed.folder / PUBLIC).write_text(signing_key(other))
    (signed.folder / "RELEASE.md").write_text("nothing left")
    sign(signed.folder, other)
    verify(signed.folder)
    with pytest.raises(ReleaseError, match="is not what was signed"):
        verify(signed.folder, signed.public)


def private_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def test_the_key_is_its_owners_alone_and_made_in_a_coordinators_folder(
    signed: Signed, tmp_path: Path
) -> None:
    assert stat.S_IMODE(signed.key.stat().st_mode) == 0o600
    whole = b"".join(path.read_bytes() for path in signed.folder.rglob("*") if path.is_file())
    assert b"PRIVATE" not in whole
    before = signed.key.read_bytes()
    assert signing_key(signed.key) == signed.public.read_text()
    assert signed.key.read_bytes() == before, "never made anew"
    with pytest.raises(ReleaseError, match="does not exist; a key is made on first use in a coord"):
        signing_key(tmp_path / "relaese.key")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fed", "folder"]
    wrong = private_key(tmp_path / "rsa.key", rsa.generate_private_key(65537, 2048))
    with pytest.raises(ReleaseError, match="is no private elliptic-curve key"):
        signing_key(wrong)
    wrong.chmod(0o644)
    with pytest.raises(ReleaseError, match="others can read the key"):
        signing_key(wrong)
    with pytest.raises(ReleaseError, match="is no public elliptic-curve key"):
        verify(signed.folder, signed.key)


def test_without_the_extra_one_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    signature.require_extra()
    for missing in ("model_signing", "OpenSSL", "cyclonedx"):
        monkeypatch.setattr(signature, "find_spec", lambda name, gone=missing: name != gone or None)
        with pytest.raises(EnvironmentClashError, match=f"{missing}, which the extra `release`"):
            signature.require_extra()


@pytest.mark.parametrize("hashed", [b"ab", b"it's", b'a"b', b"'\""])
def test_a_difference_reads_the_same_whatever_the_hash(hashed: bytes) -> None:
    """As model-signing writes it: the list of its sentences, with the bytes of both hashes."""
    found = [f"Hash mismatch for 'report.html': Expected '{hashed!r}', Actual '{hashed!r}'."]
    error = ValueError(f"Signature mismatch: {found}")
    assert differing(error) == "Hash mismatch for 'report.html'"
