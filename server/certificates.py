"""The federation's own authority, and the server's certificate that it signs.

The authority's key stays in the coordinator's folder, its owner's alone: with it, certificates are
renewed and cover further host names, and the hospitals' kits stay as they are.
"""

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.files import write_whole

#: Days that a server's certificate holds, and the authority's.
SERVER_DAYS, AUTHORITY_DAYS = 365, 3650
#: Days before its end from which on a certificate is renewed.
RENEW_DAYS = 60
#: The launcher of ServerApps comes this way.
LOOPBACK = ("localhost", "127.0.0.1")


def make_authority(certificate: Path, key: Path) -> None:
    """Write an authority, unless it is there.

    Raises:
        FederationError: Only its certificate is there: without the key nothing can be signed.
    """
    if key.exists():
        return
    if certificate.exists():
        raise FederationError(
            f"{certificate} is there, but its key {key.name} is not, so no certificate can be "
            "renewed; restore the key, or provision a new folder and hand out its kit."
        )
    private = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EchoFM federation")])
    signed = (
        _builder(subject, subject, private.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA384())
    )
    write_whole(certificate, signed.public_bytes(Encoding.PEM))
    write_whole(key, _private_bytes(private), private=True)  # last: it says that both are there


def certify(certificate: Path, key: Path, host: str, authority: tuple[Path, Path]) -> bool:
    """See to a server certificate that covers a host, loopback, and all that it covered before.

    Args:
        certificate, key: Of the server; the key stays where it is.
        host: Name or address under which sites reach the server.
        authority: Its certificate and key.

    Returns:
        Whether one was written: there was none, or it did not cover the host, or ends soon.
    """
    names = [*LOOPBACK]
    if certificate.exists():
        before = x509.load_pem_x509_certificate(certificate.read_bytes())
        names += covered(before)
        left = before.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        if host in names and left > datetime.timedelta(days=RENEW_DAYS):
            return False
    if not key.exists():
        write_whole(key, _private_bytes(ec.generate_private_key(ec.SECP384R1())), private=True)
    signer = _load(authority[1])
    issuer = x509.load_pem_x509_certificate(authority[0].read_bytes()).subject
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    signed = (
        _builder(subject, issuer, _load(key).public_key(), SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_entries([*names, host])), critical=False)
        .sign(signer, hashes.SHA384())
    )
    write_whole(certificate, signed.public_bytes(Encoding.PEM))
    return True


def check_lasting(certificate: Path) -> None:
    """Whether a server's certificate still holds: with another, nobody connects.

    Raises:
        FederationError: Its time is over.
    """
    ends = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    if ends <= datetime.datetime.now(datetime.UTC):
        raise FederationError(
            f"the certificate {certificate} ended on {ends:%Y-%m-%d}; run `echofm server provision "
            f"{certificate.parent} --host HOST` again, which renews it, and start nginx again."
        )


def covered(certificate: x509.Certificate) -> list[str]:
    """Names and addresses that a certificate covers."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _entries(names: Iterable[str]) -> list[x509.GeneralName]:
    entries: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            entries.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            entries.append(x509.DNSName(name))
    return entries


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FederationError(f"{path} is not a key that this software wrote; restore it.")
    return key


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
