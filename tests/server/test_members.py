"""A site takes part under one name with one key, as the coordinator says."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from echofm_core.runtime.errors import FederationError, PlanError
from server import certificates
from server.certificates import check_lasting, covered
from server.kit import Kit
from server.members import admit, revoke, site_names
from server.provision import provision
from tests.support.commands import Echofm


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return provision(tmp_path / "fed", "fl.example.org", 443)[0]


def public_key(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | None = None) -> str:
    """OpenSSH text of a new key's public half, or of this one's."""
    key = key or ec.generate_private_key(ec.SECP384R1())
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_a_site_is_admitted_once_by_text_or_file_and_comments_do_not_count(
    kit: Kit, tmp_path: Path
) -> None:
    key = public_key()
    (tmp_path / "node.pub").write_text(f"{key} somebody@north\n")
    assert admit(kit, "north", str(tmp_path / "node.pub"))
    assert not admit(kit, "north", key)
    assert site_names(kit) == ["north"]


def test_neither_name_nor_key_is_taken_twice(kit: Kit) -> None:
    key = public_key()
    admit(kit, "north", key)
    with pytest.raises(FederationError, match="north is admitted with another key; revoke"):
        admit(kit, "north", public_key())
    with pytest.raises(FederationError, match="this key is that of site north"):
        admit(kit, "south", key)
    assert site_names(kit) == ["north"]


@pytest.mark.parametrize("key", ["", "no key", "ecdsa-sha2-nistp384 AAAA", "/nowhere/node.pub"])
def test_what_is_no_key_is_refused(kit: Kit, key: str) -> None:
    with pytest.raises(PlanError, match="is no public key of a site"):
        admit(kit, "north", key)


def test_a_key_of_another_kind_is_refused(kit: Kit) -> None:
    """Flower's nodes have keys of elliptic curves."""
    with pytest.raises(PlanError, match="is no public key of a site"):
        admit(kit, "north", public_key(ed25519.Ed25519PrivateKey.generate()))


def test_a_revoked_site_is_gone_and_its_key_is_kept_aside(kit: Kit) -> None:
    key = public_key()
    admit(kit, "north", key)
    revoke(kit, "north")
    assert site_names(kit) == []
    for name in ("north", "south"):
        with pytest.raises(FederationError, match="this key was revoked, and may not come back"):
            admit(kit, name, key)
    assert len(list((kit.folder / "revoked").glob("north-*.pub"))) == 1
    with pytest.raises(FederationError, match="has no site 'north'; it has none"):
        revoke(kit, "north")
    admit(kit, "north", public_key())


def test_a_second_host_is_covered_beside_the_first_and_kits_stay_good(kit: Kit) -> None:
    """The authority is the same, so hospitals that have its certificate trust the new one."""
    authority, key = kit.authority.read_bytes(), kit.key.read_bytes()
    again, renewed = provision(kit.folder, "fl.example.net", None)
    certificate = x509.load_pem_x509_certificate(again.certificate.read_bytes())
    assert renewed
    assert set(covered(certificate)) == {
        "localhost", "127.0.0.1", "fl.example.org", "fl.example.net",
    }  # fmt: skip
    assert (kit.authority.read_bytes(), kit.key.read_bytes()) == (authority, key)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    assert not provision(kit.folder, "fl.example.org", None)[1], "nothing to renew"


def test_a_server_with_a_certificate_that_has_ended_does_not_start_until_it_is_renewed(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, echofm: Echofm
) -> None:
    check_lasting(kit.certificate)
    kit.certificate.unlink()
    with monkeypatch.context() as short:
        short.setattr(certificates, "SERVER_DAYS", 0)
        provision(kit.folder, "fl.example.org", None)
    done = echofm("server", "start", kit.folder)
    assert done.returncode == FederationError.exit_code
    assert "ended on" in done.stderr and "`echofm server provision" in done.stderr
    assert provision(kit.folder, "fl.example.org", None)[1], "renewed"
    check_lasting(kit.certificate)


def test_without_the_authoritys_key_nothing_is_signed(kit: Kit) -> None:
    kit.authority_key.unlink()
    with pytest.raises(FederationError, match="restore the key"):
        provision(kit.folder, "fl.example.net", None)
