"""Making a hospital's own folder from the coordinator's kit: its key, its settings, its policy."""

import tomllib
from pathlib import Path

import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from client.policy import Policy
from echofm_core.plan.reference import as_comments
from echofm_core.runtime.errors import DataRootError, PlanError
from echofm_core.runtime.files import check_place, write_whole
from echofm_core.runtime.names import site_name_fault
from echofm_core.training.config import ExecutionConfig

_SETTINGS = """\
{values}
# How this machine trains. Remove a # to change a default.
{machine}
# What this site allows, whatever a plan asks for. Remove a # to change a default.
[policy]
{policy}"""


def enroll(kit: Path, name: str, folder: Path) -> str:
    """Make a site's folder: a new key, which never leaves it, and ``site.toml`` to fill in.

    A key and settings that are there stay; the authority's certificate is taken from the kit.

    Args:
        kit: From the coordinator; the same for every hospital.
        name: Site name, as the coordinator admits it.
        folder: Of the site, its owner's alone.

    Returns:
        The public key, one line of OpenSSH text; it is no secret.

    Raises:
        PlanError: A site cannot be called that.
        DataRootError: The kit is none.
        OutputError: The folder cannot be written.
    """
    if fault := site_name_fault(name):
        raise PlanError(f"site name {name[:80]!r} {fault}; choose another.")
    server, authority = _read_kit(kit)
    check_place(folder, folder=True)
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_whole(folder / "ca.crt", authority)
    key = folder / "node.key"
    if not key.exists():
        private = ec.generate_private_key(ec.SECP384R1())
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        write_whole(folder / "node.pub", public)
        text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        write_whole(key, text, private=True)  # last: it says that both are there
    if not (folder / "site.toml").exists():
        paths = {"manifest": "manifest.parquet", "store": "stores", "state": "state"}
        text_of = _SETTINGS.format(
            values=tomli_w.dumps({"name": name, "server": server, **paths}),
            machine=as_comments(ExecutionConfig),
            policy=as_comments(Policy),
        )
        write_whole(folder / "site.toml", text_of.encode())
    return (folder / "node.pub").read_text(encoding="ascii").strip()


def _read_kit(kit: Path) -> tuple[str, bytes]:
    """Address of the server, and the certificate to trust."""
    try:
        server = tomllib.loads((kit / "federation.toml").read_text(encoding="utf-8"))["server"]
        authority = (kit / "ca.crt").read_bytes()
        x509.load_pem_x509_certificate(authority)
    except (OSError, ValueError, KeyError) as error:
        raise DataRootError(
            f"{kit} is no kit of a federation ({type(error).__name__}); it holds federation.toml "
            "and ca.crt, as the coordinator's `echofm server provision` wrote them."
        ) from None
    return str(server), authority
