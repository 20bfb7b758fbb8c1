"""A hospital's folder beside a server that speaks TLS, as the tests of `client check` need it."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from client.preflight import Line, preflight
from echofm_core.data.manifest import load_manifest
from server.provision import provision
from simulations.engine import SiteSettings
from tests.federation.small import build_sites
from tests.support.hospitals import hospital, joined


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    torch.set_num_threads(1)
    return build_sites(tmp_path_factory.mktemp("site"), ("alpha",))[0]


@dataclass(frozen=True)
class Kit:
    """A hospital's folder, ready to start, and the certificate of a server that speaks TLS."""

    folder: Path
    manifest: Path
    port: int
    answers: dict[str, str]
    """``date``: what its server says that time it is; without one it answers no HTTP."""

    def lines(self, *, quick: bool = True) -> dict[str, Line]:
        return {line.subject: line for line in preflight(self.folder, self.port, quick=quick)}

    def set(self, words: str) -> None:
        """Put settings before all others of ``site.toml``."""
        settings = self.folder / "site.toml"
        settings.write_text(f"{words}\n{settings.read_text()}")

    def change(self, **columns: object) -> None:
        frame = load_manifest(self.manifest).assign(**columns)
        frame.to_parquet(self.manifest, index=False)


@pytest.fixture
def kit(built: SiteSettings, tmp_path: Path) -> Iterator[Kit]:
    """Behind the kit's address a server answers the handshake with the kit's certificate."""
    server, free = socket.socket(), socket.socket()
    for item in (server, free):
        item.bind(("127.0.0.1", 0))
    server.listen()
    address = server.getsockname()[1]
    made = joined(provision(tmp_path / "fed", "127.0.0.1", address)[0], "alpha")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    answers: dict[str, str] = {}

    def answer() -> None:
        while True:
            try:
                plain, _ = server.accept()
                with context.wrap_socket(plain, server_side=True) as safe:
                    if "date" in answers and safe.recv(4096):
                        safe.sendall(f"HTTP/1.1 404 No\r\nDate: {answers['date']}\r\n\r\n".encode())
            except ssl.SSLError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    folder = hospital(made, "alpha")
    with (folder / "site.toml").open("a") as settings:  # in [policy], which is last
        settings.write("min_patients = 1\n")
    shutil.copy(built.manifest, folder / "manifest.parquet")
    shutil.copytree(built.store, folder / "stores")
    port = free.getsockname()[1]
    free.close()
    yield Kit(folder, folder / "manifest.parquet", port, answers)
    server.close()
