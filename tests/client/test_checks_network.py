"""What `client check` finds of the network: port, keys, proxy, server and clock, one at a time."""

from __future__ import annotations

import email.utils
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import tomli_w

from server.provision import provision
from tests.client.conftest import Kit
from tests.support.hospitals import hospital, joined


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (0, "near enough"),
        (-200, "200 s behind the server's clock, near enough"),
        (60, "this machine's clock is 60 s before the server's clock, and signed requests"),
        (-400, "this machine's clock is 400 s behind the server's clock, and signed requests"),
    ],
)
def test_a_clock_is_held_against_the_servers(kit: Kit, ahead: int, words: str) -> None:
    """The server is this machine too; so its date is moved the other way.

    Its answer is some seconds old when it is read, on a busy machine up to half a minute.
    """
    kit.answers["date"] = email.utils.formatdate(time.time() - ahead, usegmt=True)
    line = kit.lines()["clock"]
    seconds = re.search(r"\b(\d+) s", line.words)
    assert seconds is None or abs(int(seconds[1]) - abs(ahead)) <= 30
    found = re.sub(r"\b\d+ s", f"{abs(ahead)} s", line.words, count=1)
    assert words in found and bool(line.exit_code) == ("signed" in words)


def test_a_proxy_is_said_and_taken(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward proxy as hospitals have it: it sees CONNECT alone, and passes bytes on."""
    asked: list[bytes] = []
    with forward_proxy(asked) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://nurse:geheim@127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        lines = kit.lines()
        assert f"through 127.0.0.1:{port}, as HTTPS_PROXY say" in lines["proxy"].words
        assert "geheim" not in "".join(line.words for line in lines.values())
        assert not lines["server"].exit_code and asked
        assert all(words.startswith(b"CONNECT 127.0.0.1:") for words in asked)
        assert any(b"Proxy-Authorization: Basic" in words for words in asked)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        asked.clear()
        lines = kit.lines()
        assert "the node connects itself (HTTPS_PROXY" in lines["proxy"].words and not asked
    monkeypatch.delenv("NO_PROXY")
    line = kit.lines()["server"]
    assert line.exit_code == 20 and "nobody listens there" in line.words
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    assert "only a proxy at http:// is known to work" in kit.lines()["proxy"].words


@contextmanager
def forward_proxy(asked: list[bytes]) -> Iterator[int]:
    """Its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listening.accept()
            except OSError:
                return
            asked.append(words := one.recv(4096))
            host, _, port = words.split()[1].decode().rpartition(":")
            other = socket.create_connection((host, int(port)))
            one.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for source, sink in ((one, other), (other, one)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_a_port_that_is_taken(kit: Kit) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", kit.port))
        taken.listen()
        line = kit.lines()["port"]
    assert line.exit_code == 20 and f"port {kit.port} of this machine is in use" in line.words


def test_a_port_that_a_node_has_just_left(kit: Kit) -> None:
    """Who closes first keeps the pair of ports in TIME_WAIT, for a minute on Linux."""
    with socket.create_server(("127.0.0.1", kit.port)) as listening:
        other = socket.create_connection(("127.0.0.1", kit.port))
        mine, _ = listening.accept()
        mine.close()
        assert other.recv(1) == b""
        other.close()
    assert not kit.lines()["port"].exit_code


def test_keys_that_are_not_there_not_keys_not_a_pair_or_not_private(
    kit: Kit, tmp_path: Path
) -> None:
    other = hospital(joined(provision(tmp_path / "other", "127.0.0.1", 8000)[0], "alpha"), "alpha")
    shutil.copy(other / "node.pub", kit.folder / "node.pub")
    assert "do not belong together" in kit.lines()["keys"].words
    shutil.copy(other / "node.key", kit.folder / "node.key")
    assert not kit.lines()["keys"].exit_code
    (kit.folder / "node.key").chmod(0o644)
    assert "can be read by others (mode 644)" in kit.lines()["keys"].words
    (kit.folder / "node.key").write_text("garbage")
    assert "holds no private key" in kit.lines()["keys"].words
    (kit.folder / "node.pub").unlink()
    lines = kit.lines()
    assert "node.pub is missing" in lines["keys"].words and "admission" not in lines


def test_a_server_with_another_certificate(kit: Kit, tmp_path: Path) -> None:
    other = hospital(joined(provision(tmp_path / "other", "127.0.0.1", 8000)[0], "alpha"), "alpha")
    shutil.copy(other / "ca.crt", kit.folder / "ca.crt")
    line = kit.lines()["server"]
    assert line.exit_code == 20 and "certificate verify failed" in line.words


def test_a_server_that_is_not_there(kit: Kit) -> None:
    settings = {"name": "alpha", "server": "127.0.0.1:1", "manifest": "manifest.parquet"}
    settings |= {"store": "stores", "state": "state"}
    (kit.folder / "site.toml").write_text(tomli_w.dumps(settings))
    assert "127.0.0.1:1 cannot be reached safely" in kit.lines()["server"].words
