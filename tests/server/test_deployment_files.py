"""What IT installs is accepted by its own tools, and nginx passes on what it says."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from echofm_core.runtime.errors import PlanError
from server.kit import Kit
from server.launch import superlink
from server.provision import provision
from server.self_check import FORBIDDEN, check_outside
from tests.federation.test_deployment import free_ports

#: A folder that has to be quoted, in nginx and in systemd.
ODD = 'two words, 50% "x"'


def said_by(*command: str) -> subprocess.CompletedProcess[str]:
    """What a program says to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def need(tool: str) -> str:
    """Path of a program that pip does not bring."""
    found = shutil.which(tool)
    if not found:
        pytest.skip(f"{tool} is not installed here; .ci/run installs it")
    return found


@pytest.fixture(params=["fed", ODD])
def kit(tmp_path: Path, request: pytest.FixtureRequest) -> Kit:
    return provision(tmp_path / request.param, "fl.example.org", None)[0]


def test_systemd_accepts_both_units(kit: Kit) -> None:
    """A hint is as bad as an error: a key that systemd does not know is one."""
    verify = [need("systemd-analyze"), "verify", "--recursive-errors=no"]
    for unit in (kit.unit, kit.client_unit):
        done = said_by(*verify, str(unit))
        said = [line for line in done.stderr.splitlines() if unit.stem in line]
        assert not said, said
    text = kit.unit.read_text()
    assert f"User={kit.folder.owner()}\n" in text
    assert "Restart=always" in text and "server start" in text


def test_the_summary_names_this_federation_and_fits_a_page(kit: Kit) -> None:
    text = kit.summary.read_text()
    assert "| each hospital | fl.example.org | 443 |" in text
    assert "Port 8000 is bound to 127.0.0.1" in text
    assert "localhost, fl.example.org, 127.0.0.1" in text
    assert len(text.splitlines()) <= 60
    danger = "can run code on the coordinator's machine, and ask the hospitals whatever an approved"
    assert danger in " ".join(text.split())
    openssl = [need("openssl"), "x509", "-in", str(kit.handout / "ca.crt"), "-noout"]
    done = said_by(*openssl, "-fingerprint", "-sha256")
    assert done.stdout.strip().partition("=")[2].lower() in text


def test_another_host_and_port_are_in_all_of_it(kit: Kit) -> None:
    provision(kit.folder, "fl.example.net", 8443, local_port=8001)
    assert kit.host() == "fl.example.net"
    assert "| each hospital | fl.example.net | 8443 |" in kit.summary.read_text()
    assert "listen 8443 ssl" in kit.nginx.read_text()
    assert "server 127.0.0.1:8001;" in kit.nginx.read_text()


@pytest.mark.parametrize("host", ["", "https://fl.example.org", "fl.example.org:443", "a b", "x;y"])
def test_what_is_no_host_is_refused_before_anything_is_written(tmp_path: Path, host: str) -> None:
    with pytest.raises(PlanError, match="without https:// and without a port"):
        provision(tmp_path / "fed", host, None)
    assert not (tmp_path / "fed").exists()


def test_a_folder_that_nginx_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="choose another folder"):
        provision(tmp_path / "$HOME", "fl.example.org", None)


class Echo(BaseHTTPRequestHandler):
    """Stands for the SuperLink: answers each request with its path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def nginx_of(kit: Kit) -> Iterator[None]:
    """Nginx with the configuration as written."""
    nginx = need("nginx")
    own = f"pid {kit.folder.parent}/nginx.pid; error_log stderr;"
    command = [nginx, "-c", str(kit.nginx), "-p", str(kit.folder.parent), "-g"]
    done = said_by(*command, own, "-t")
    if "Permission denied" in done.stderr:
        pytest.skip("nginx as it is installed here tests configurations for root alone")
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr, done.stderr

    process = subprocess.Popen([*command, f"daemon off; {own}"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def proxied(kit: Kit) -> Iterator[Kit]:
    """Nginx in front of :class:`Echo`."""
    public, local = free_ports(2)
    provision(kit.folder, "fl.example.org", public, local_port=local)
    with nginx_of(kit), ThreadingHTTPServer(("127.0.0.1", local), Echo) as behind:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(kit.certificate, kit.key)
        behind.socket = context.wrap_socket(behind.socket, server_side=True)
        threading.Thread(target=behind.serve_forever, daemon=True).start()
        yield kit
        behind.shutdown()


def answer(kit: Kit, path: str) -> tuple[int, bytes]:
    """What the proxy answers a hospital, which trusts the kit's authority alone."""
    context = ssl.create_default_context(cafile=str(kit.handout / "ca.crt"))
    deadline = time.monotonic() + 10
    while True:
        link = http.client.HTTPSConnection(
            "127.0.0.1", kit.ports().public, timeout=10, context=context
        )
        try:
            link.request("POST", path, body=b"")
            reply = link.getresponse()
            return reply.status, reply.read()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        finally:
            link.close()


def test_nginx_passes_the_fleets_requests_on_and_no_others(proxied: Kit) -> None:
    assert answer(proxied, "/v1/fleet/pull-messages?a=1") == (200, b"/v1/fleet/pull-messages?a=1")
    for path in (
        "/", "/docs", "/openapi.json", "/health", "/v1/fleet", "/v1/control/list-runs",
        "/v1/runtime/acquire-task", "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs", "/v1/fleet/..%2fcontrol/list-runs",
        "//v1/control/list-runs", "/v1/fleetx/../control/list-runs",
    ):  # fmt: skip
        assert answer(proxied, path)[0] in (301, 400, 404), path
    # What nginx takes for a request of the fleet arrives as one, dots resolved.
    found = answer(proxied, "/v1/control/../fleet/pull-messages")
    assert found == (200, b"/v1/fleet/pull-messages")


@pytest.mark.slow
def test_a_superlink_behind_nginx_stands_its_own_check(tmp_path: Path) -> None:
    """With Flower's own answers; where the port is the SuperLink's own, all of them come."""
    public, local = free_ports(2)
    kit, _ = provision(tmp_path / "fed", "127.0.0.1", public, local_port=local)
    with superlink(kit, "127.0.0.1", local), nginx_of(kit):
        answer(kit, "/")  # nginx is there
        assert "passes /v1/fleet/ on; control and runtime do not" in check_outside(kit)
        kit.keep_ports(public=local, local=1)
        said = check_outside(kit)
    assert said.startswith("WARNING: ")
    assert all(path in said for path in FORBIDDEN)
