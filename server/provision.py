"""Start-up kits of a federation: certificates, keys, the thin app bundle, settings.

Made once, by the coordinator. Keys are never overwritten: running it again adds what is missing,
for instance one more site.
"""

import datetime
import ipaddress
import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from echofm_core import __version__
from echofm_core.plan.reference import as_comments
from echofm_core.runtime.errors import DataRootError, FederationError, PlanError
from echofm_core.runtime.files import write_whole
from echofm_core.runtime.names import site_name_fault
from echofm_core.training.config import ExecutionConfig

#: Certificates are renewed by provisioning again after this many days.
VALID_DAYS = 365
#: Connection name in Flower's own configuration.
CONNECTION = "federation"
#: The thin app: it names the installed package, and holds no code.
BUNDLE = f"""\
[project]
name = "echofm-federated"
version = "{__version__}"
dependencies = []

[tool.flwr.app]
publisher = "echofm"
components = {{ serverapp = "server.app:app", clientapp = "client.app:app" }}

[tool.flwr.app.config]
plan = ""
run-folder = ""
resume = false
sites = ""
wait-seconds = 600.0
watch = ""
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The coordinator's own ports and the one that the sites know; ``server.toml``.

    Attributes:
        public: What sites connect to: a proxy's as a rule.
        local: The SuperLink's, on this machine.
        health: Its health service's, on loopback; chosen at each start, 0 before the first.
    """

    public: int = 8000
    local: int = 8000
    health: int = 0


class Kit:
    """Where everything of a provisioned federation is.

    Args:
        folder: Of the coordinator; nothing in it but ``sites/NAME`` leaves the machine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: Certificate that sites trust.
        self.authority = folder / "ca.crt"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        #: Shared by SuperLink and the process that starts ServerApps.
        self.secret = folder / "superexec.secret"
        #: Which keys the SuperLink that runs knows.
        self.registered = folder / "registered.txt"
        #: Flower's own configuration folder, ours alone.
        self.home = folder / "flwr"
        self.bundle = folder / "bundle" / "echofm-federated"

    def log(self, name: str) -> Path:
        """Log of a process of ours."""
        return self.folder / f"{name}.log"

    def ports(self) -> Ports:
        """Where this machine finds its SuperLink.

        Raises:
            DataRootError: The folder is no coordinator's.
        """
        path = self.folder / "server.toml"
        try:
            return Ports(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise DataRootError(
                f"{path} is missing or damaged; write it with `echofm server provision`."
            ) from None

    def keep_ports(self, **changes: int) -> None:
        """Write what has changed where our commands, and Flower's, look for it."""
        ports = replace(self.ports(), **changes)
        write_whole(self.folder / "server.toml", tomli_w.dumps(asdict(ports)).encode())
        address, trusted = f"127.0.0.1:{ports.local}", str(self.authority)
        connection = {"address": address, "root-certificates": trusted}
        settings = {"superlink": {"default": CONNECTION, CONNECTION: connection}}
        write_whole(self.home / "config.toml", tomli_w.dumps(settings).encode())

    def site(self, name: str) -> Path:
        """Folder that is handed to a site."""
        return self.folder / "sites" / name

    def site_names(self) -> list[str]:
        """Sites with a kit.

        Raises:
            FederationError: The folder holds no federation.
        """
        if not (self.folder / "sites").is_dir():
            raise FederationError(
                f"{self.folder} holds no federation; write one with `echofm server provision`."
            )
        return sorted(path.name for path in (self.folder / "sites").iterdir())


def provision(
    folder: Path,
    host: str,
    port: int | None,
    sites: Sequence[str],
    *,
    local_port: int | None = None,
) -> Kit:
    """Write the start-up kits; what is there already stays.

    Args:
        folder: Of the coordinator.
        host: Name or address under which sites reach the server.
        port: Port that they connect to: the proxy's where there is one. None for the one that the
            folder has, or else 8000.
        local_port: Port of the SuperLink on this machine; None as above.
        sites: Their names.

    Raises:
        PlanError: A site cannot be called that.
    """
    for name in sites:
        if fault := site_name_fault(name):
            raise PlanError(f"site name {name[:80]!r} {fault}; choose another.")
    kit = Kit(folder.resolve())
    kit.folder.mkdir(parents=True, exist_ok=True)
    if not kit.certificate.exists():
        _make_certificates(kit, host)
    if not kit.secret.exists():
        write_whole(kit.secret, secrets.token_bytes(32), private=True)
    if not (kit.folder / "server.toml").exists():
        write_whole(kit.folder / "server.toml", b"")  # the defaults
    chosen = {"public": port, "local": local_port}
    kit.keep_ports(**{name: number for name, number in chosen.items() if number is not None})
    write_whole(kit.bundle / "pyproject.toml", BUNDLE.encode())
    for name in sites:
        _make_site(kit, name, f"{host}:{kit.ports().public}")
    return kit


def _make_certificates(kit: Kit, host: str) -> None:
    authority_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    authority = _certificate("EchoFM federation", authority_key, authority_key, ca=True)
    certificate = _certificate(host, key, authority_key, ca=False)
    write_whole(kit.key, _private_bytes(key, PrivateFormat.PKCS8), private=True)
    write_whole(kit.authority, authority.public_bytes(Encoding.PEM))
    # Last: its presence says that all three are there. The authority's key is not kept.
    write_whole(kit.certificate, certificate.public_bytes(Encoding.PEM))


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *, ca: bool
) -> x509.Certificate:
    """Of the authority itself, or of the server by the name ``subject``."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_common_name(subject))
        .issuer_name(_common_name("EchoFM federation"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
    )
    if not ca:
        names = x509.SubjectAlternativeName(_names(subject))
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA384())


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _names(host: str) -> list[x509.GeneralName]:
    """Every name that is used, loopback included: the ServerApp's launcher comes that way."""
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), loopback]
    try:
        own: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        own = x509.DNSName(host)
    return names if own in names else [*names, own]


def _private_bytes(key: ec.EllipticCurvePrivateKey, form: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def _make_site(kit: Kit, name: str, server: str) -> None:
    folder = kit.site(name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_whole(folder / "ca.crt", kit.authority.read_bytes())
    if not (folder / "node.key").exists():
        key = ec.generate_private_key(ec.SECP384R1())
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        write_whole(folder / "node.pub", public)
        # Last: its presence says that both are there.
        write_whole(folder / "node.key", _private_bytes(key, PrivateFormat.OpenSSH), private=True)
    if not (folder / "site.toml").exists():
        paths = {"manifest": "manifest.parquet", "store": "stores", "state": "state"}
        values = tomli_w.dumps({"name": name, "server": server, **paths})
        head = "# How this machine trains. Remove a # to change a default."
        text = f"{values}\n{head}\n{as_comments(ExecutionConfig)}"
        write_whole(folder / "site.toml", text.encode())
