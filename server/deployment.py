"""What a coordinator's IT installs and signs: systemd units, nginx, a page of ports and flows.

All of it follows from the federation's own host, ports and folder, and is written anew by each
`echofm server provision`: it is copied to where the system looks for it, and not edited here.
"""

import datetime
import ipaddress
import re
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from echofm_core import __version__
from echofm_core.runtime.errors import PlanError
from echofm_core.runtime.files import write_whole
from server.certificates import covered
from server.deployment_texts import CLIENT_UNIT, NGINX, SERVER_UNIT, SUMMARY
from server.kit import Kit

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def check_names(host: str, folder: Path) -> None:
    """Whether sites can connect to this host, and nginx and systemd can name this folder.

    Raises:
        PlanError: The host is no name of the DNS and no IPv4 address, or the folder's path has
            what they would read as a variable or the end of a line.
    """
    if len(host) > 253 or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", host):
        raise PlanError(
            f"host {host[:80]!r} is neither a name such as fl.example.org nor an IPv4 address; "
            "give it without https:// and without a port."
        )
    if "$" in str(folder) or not str(folder).isprintable():
        raise PlanError(
            f"the path {str(folder)[:200]!r} has a $ or a letter that does not print, which nginx "
            "and systemd would misread; choose another folder."
        )


def is_loopback(host: str) -> bool:
    """Does it stand for this machine alone?

    >>> is_loopback("127.0.0.2"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def write_deployment(kit: Kit) -> None:
    """Write units, nginx's configuration and the summary of a provisioned federation."""
    host, ports = kit.host(), kit.ports()
    texts = {
        kit.nginx: NGINX.format(
            host=host,
            public=ports.public,
            local=ports.local,
            certificate=_quoted(kit.certificate),
            key=_quoted(kit.key),
            authority=_quoted(kit.authority),
        ),
        kit.unit: SERVER_UNIT.format(
            host=host,
            user=_owner(kit.folder),
            command=_unit_word(Path(sys.executable).with_name("echofm")),
            folder=_unit_word(kit.folder),
        ),
        kit.client_unit: CLIENT_UNIT.format(host=host),
        kit.summary: _summary(kit),
    }
    for path, text in texts.items():
        write_whole(path, text.encode())


def _summary(kit: Kit) -> str:
    certificate = x509.load_pem_x509_certificate(kit.certificate.read_bytes())
    authority = x509.load_pem_x509_certificate(kit.authority.read_bytes())
    return SUMMARY.format(
        host=kit.host(),
        public=kit.ports().public,
        local=kit.ports().local,
        folder=kit.folder,
        version=__version__,
        today=datetime.datetime.now(datetime.UTC).date(),
        names=", ".join(dict.fromkeys(covered(certificate))),
        ends=certificate.not_valid_after_utc.date(),
        authority_ends=authority.not_valid_after_utc.date(),
        fingerprint=authority.fingerprint(SHA256()).hex(":"),
    )


def _owner(folder: Path) -> str:
    """Name of the user that a folder belongs to; its number where it has no name."""
    try:
        return folder.owner()
    except KeyError:
        return str(folder.stat().st_uid)


def _quoted(path: Path) -> str:
    """A path as nginx reads it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _unit_word(path: Path) -> str:
    """A path as systemd reads it in a command."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return '"{}"'.format(text.replace("%", "%%"))
