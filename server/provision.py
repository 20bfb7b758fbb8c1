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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
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


@dataclass(frozen=True, slots=True)
class Kit:
    """Where everything of a provisioned federation is.

    Attributes:
        folder: Of the coordinator; nothing in it but ``sites/NAME`` leaves the machine.
    """

    folder: Path

    @property
    def authority(self) -> Path:
        """Certificate that sites trust."""
        return self.folder / "ca.crt"

    @property
    def certificate(self) -> Path:
        """Server certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """Server key."""
        return self.folder / "server.key"

    @property
    def secret(self) -> Path:
        """Shared by SuperLink and the process that starts ServerApps."""
        return self.folder / "superexec.secret"

    @property
    def registered(self) -> Path:
        """Which keys the SuperLink that runs knows."""
        return self.folder / "registered.txt"

    @property
    def home(self) -> Path:
        """Flower's own configuration folder, ours alone."""
        return self.folder / "flwr"

    @property
    def bundle(self) -> Path:
        """The thin app: names the installed package and holds no code."""
        return self.folder / "bundle" / "echofm-federated"

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
        self.write_ports(replace(self.ports(), **changes))

    def write_ports(self, ports: Ports) -> None:
        """Write all of them."""
        write_whole(self.folder / "server.toml", tomli_w.dumps(asdict(ports)).encode())
        connection = {
            "address": f"127.0.0.1:{ports.local}",
            "root-certificates": str(self.authority),
        }
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
        sites: Site names.

    Raises:
        PlanError: A site cannot be called that.
    """
    for name in sites:
        if fault := site_name_fault(name):
            raise PlanError(f"site name {name[:80]!r} {fault}; choose another.")
    kit = Kit(folder.resolve())
    kit.folder.mkdir(parents=True, exist_ok=True)
    _make_certificates(kit, host)
    if not kit.secret.exists():
        write_whole(kit.secret, secrets.token_bytes(32), private=True)
    _write_settings(kit, port, local_port)
    for name in sites:
        _make_site(kit, name, host, kit.ports().public)
    return kit


def _make_certificates(kit: Kit, host: str) -> None:
    if kit.certificate.exists():
        return
    authority_key = ec.generate_private_key(ec.SECP384R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EchoFM federation")])
    authority = (
        _builder(issuer, issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA384())
    )
    server_key = ec.generate_private_key(ec.SECP384R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        _builder(subject, issuer, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA384())
    )
    pem = serialization.Encoding.PEM
    private = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_whole(kit.key, private, private=True)
    write_whole(kit.authority, authority.public_bytes(pem))
    # Last: its presence says that all three are there. The authority's key is not kept.
    write_whole(kit.certificate, certificate.public_bytes(pem))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )


def _names(host: str) -> list[x509.GeneralName]:
    """Every name that is used, loopback included: the ServerApp's launcher comes that way."""
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    try:
        address = x509.IPAddress(ipaddress.ip_address(host))
        return [*names, address] if address not in names else names
    except ValueError:
        return [*names, x509.DNSName(host)] if host != "localhost" else names


def _write_settings(kit: Kit, port: int | None, local_port: int | None) -> None:
    if not (kit.folder / "server.toml").exists():
        kit.write_ports(Ports())
    chosen = {"public": port, "local": local_port}
    kit.keep_ports(**{name: value for name, value in chosen.items() if value is not None})
    bundle = {
        "project": {"name": "echofm-federated", "version": __version__, "dependencies": []},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "echofm",
                    "components": {"serverapp": "server.app:app", "clientapp": "client.app:app"},
                    "config": {
                        "plan": "",
                        "run-folder": "",
                        "resume": False,
                        "sites": "",
                        "wait-seconds": 600.0,
                        "watch": "",
                    },
                }
            }
        },
    }
    write_whole(kit.bundle / "pyproject.toml", tomli_w.dumps(bundle).encode())


def _make_site(kit: Kit, name: str, host: str, port: int) -> None:
    folder = kit.site(name)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_whole(folder / "ca.crt", kit.authority.read_bytes())
    if not (folder / "node.key").exists():
        key = ec.generate_private_key(ec.SECP384R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        write_whole(folder / "node.pub", public)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
        # Last: its presence says that both are there.
        write_whole(folder / "node.key", private, private=True)
    settings = folder / "site.toml"
    if not settings.exists():
        values = {
            "name": name,
            "server": f"{host}:{port}",
            "manifest": "manifest.parquet",
            "store": "stores",
            "state": "state",
        }
        head = "# How this machine trains. Remove a # to change a default."
        text = f"{tomli_w.dumps(values)}\n{head}\n{as_comments(ExecutionConfig)}"
        write_whole(settings, text.encode())
