"""Where everything of a provisioned federation is, and under which host and ports it is known."""

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import tomli_w

from echofm_core.runtime.errors import DataRootError
from echofm_core.runtime.files import write_whole

#: Connection name in Flower's own configuration.
CONNECTION = "federation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The coordinator's own ports and the one that the sites know; ``server.toml``.

    Attributes:
        public: What sites connect to, the proxy's.
        local: The SuperLink's, on this machine.
        health: Its health service's, on loopback; chosen at each start, 0 before the first.
    """

    public: int = 443
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
        #: Plans as they are handed to hospitals for approval, by the name of the run.
        self.plans = folder / "plans"
        #: Public keys of the admitted sites, ``NAME.pub``.
        self.sites = folder / "sites"
        #: Which keys the SuperLink that runs knows, by which node number.
        self.registered = folder / "registered.txt"
        #: Flower's own configuration folder, ours alone.
        self.home = folder / "flwr"
        self.bundle = folder / "bundle" / "echofm-federated"
        #: What the coordinator's IT copies to where the system looks for it, and what it reads.
        self.unit, self.nginx = folder / "echofm-server.service", folder / "nginx.conf"
        self.summary = folder / "SUMMARY.md"
        self.client_unit = self.handout / "echofm-client@.service"

    def log(self, name: str) -> Path:
        """Log of a process of ours."""
        return self.folder / f"{name}.log"

    def ports(self) -> Ports:
        """Where this machine finds its SuperLink, and sites their server.

        Raises:
            DataRootError: The folder is no coordinator's.
        """
        values = self._settings()
        return Ports(**{field.name: values[field.name] for field in fields(Ports)})

    def host(self) -> str:
        """Under which name sites reach the server; "" where an earlier version did not note it.

        Raises:
            DataRootError: The folder is no coordinator's.
        """
        return str(self._settings()["host"])

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Of a folder that is a coordinator's.

        Raises:
            DataRootError: It is none.
        """
        kit = cls(folder.resolve())
        kit.ports()
        return kit

    def keep_ports(self, *, host: str | None = None, **changes: int) -> None:
        """Write what has changed where our commands, and Flower's, look for it."""
        ports = replace(self.ports(), **changes)
        values = {"host": self.host() if host is None else host, **asdict(ports)}
        write_whole(self.folder / "server.toml", tomli_w.dumps(values).encode())
        address, trusted = f"127.0.0.1:{ports.local}", str(self.authority)
        connection = {"address": address, "root-certificates": trusted}
        settings = {"superlink": {"default": CONNECTION, CONNECTION: connection}}
        write_whole(self.home / "config.toml", tomli_w.dumps(settings).encode())

    def _settings(self) -> dict[str, Any]:
        path, known = self.folder / "server.toml", {"host": "", **asdict(Ports())}
        try:
            values = known | tomllib.loads(path.read_text(encoding="utf-8"))
            if [type(value) for value in values.values()] != [str, int, int, int]:
                raise ValueError("another key, or a value of another kind")
        except (OSError, ValueError):
            raise DataRootError(
                f"{path} is missing or damaged; write it with `echofm server provision`."
            ) from None
        return values
