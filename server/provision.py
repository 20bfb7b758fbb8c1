"""The coordinator's folder: authority, certificate, the thin app bundle, settings, the kit.

Keys are never overwritten: running it again renews what ends soon and adds what is missing. The kit
is the same for every hospital and holds no secret; a hospital makes its own key.
"""

import secrets
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tomli_w

from echofm_core import __version__
from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.files import write_whole
from server.certificates import certify, make_authority

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
members = ""
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
        folder: Of the coordinator; nothing in it but ``kit`` leaves the machine.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        #: Certificate that sites trust, and its key, which renews the server's.
        self.authority, self.authority_key = folder / "ca.crt", folder / "ca.key"
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        #: Shared by SuperLink and the process that starts ServerApps.
        self.secret = folder / "superexec.secret"
        #: What is handed to every hospital.
        self.handout = folder / "kit"
        #: Public keys of the admitted sites, ``NAME.pub``.
        self.sites = folder / "sites"
        #: Which keys the SuperLink that runs knows, by which node number.
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


def provision(
    folder: Path, host: str, port: int | None, *, local_port: int | None = None
) -> tuple[Kit, bool]:
    """Write what a coordinator needs; keys that are there stay, and sites that are admitted.

    Args:
        folder: Of the coordinator.
        host: Name or address under which sites reach the server; with further ones before, the
            certificate covers all of them.
        port: Port that they connect to: the proxy's where there is one. None for the one that the
            folder has, or else 8000.
        local_port: Port of the SuperLink on this machine; None as above.

    Returns:
        The federation, and whether the server's certificate is new.

    Raises:
        FederationError: The authority's key is gone.
    """
    kit = Kit(folder.resolve())
    kit.folder.mkdir(parents=True, exist_ok=True)
    make_authority(kit.authority, kit.authority_key)
    renewed = certify(kit.certificate, kit.key, host, (kit.authority, kit.authority_key))
    if not kit.secret.exists():
        write_whole(kit.secret, secrets.token_bytes(32), private=True)
    if not (kit.folder / "server.toml").exists():
        write_whole(kit.folder / "server.toml", b"")  # the defaults
    chosen = {"public": port, "local": local_port}
    kit.keep_ports(**{name: number for name, number in chosen.items() if number is not None})
    write_whole(kit.bundle / "pyproject.toml", BUNDLE.encode())
    kit.handout.mkdir(exist_ok=True)
    write_whole(kit.handout / "ca.crt", kit.authority.read_bytes())
    server = {"server": f"{host}:{kit.ports().public}"}
    write_whole(kit.handout / "federation.toml", tomli_w.dumps(server).encode())
    return kit, renewed
