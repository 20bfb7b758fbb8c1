"""What answers at the public address, and must not, is said."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from echofm_core.runtime.errors import PlanError
from server.kit import Kit
from server.provision import provision
from server.self_check import FLEET, check_bound, check_outside
from tests.federation.test_deployment import free_ports

Serve = Callable[[dict[str, int]], Kit]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a federation's public address by path -> status; 404 elsewhere."""
    servers: list[ThreadingHTTPServer] = []

    def begin(answers: dict[str, int]) -> Kit:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(answers.get(self.path, 404))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        (port,) = free_ports(1)
        kit, _ = provision(tmp_path / "fed", "127.0.0.1", port)
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(kit.certificate, kit.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return kit

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_proxy_that_passes_the_fleets_part_alone_is_as_it_should_be(serve: Serve) -> None:
    assert "passes /v1/fleet/ on; control and runtime do not" in check_outside(serve({FLEET: 415}))


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/control/list-runs", 415), ("/v1/runtime/acquire-task", 200), ("/openapi.json", 401)],
)
def test_what_must_not_answer_and_does_is_a_warning(serve: Serve, path: str, status: int) -> None:
    said = check_outside(serve({FLEET: 415, path: status}))
    assert said.startswith(f"WARNING: {path} answer at 127.0.0.1:")
    assert "RUN CODE ON THIS MACHINE and ask the sites" in said


@pytest.mark.parametrize(("status", "why"), [(404, "sites cannot connect"), (502, "pass on to")])
def test_a_proxy_that_sites_get_nowhere_by_is_a_warning(
    serve: Serve, status: int, why: str
) -> None:
    said = check_outside(serve({FLEET: status}))
    assert said.startswith("WARNING") and why in said


def test_an_address_out_of_reach_or_of_somebody_else_was_not_checked(
    serve: Serve, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    away, _ = provision(tmp_path / "away", "127.0.0.1", port)
    said = check_outside(away)
    assert said.startswith("WARNING: could not check") and "must say 404" in said
    other = serve({FLEET: 415})
    away.keep_ports(public=other.ports().public)
    assert "no certificate of this federation" in check_outside(away)
    away.keep_ports(host="")
    assert "run `echofm server provision` again" in check_outside(away)


def test_where_sites_are_on_this_machine_alone_nothing_is_outside(tmp_path: Path) -> None:
    kit, _ = provision(tmp_path / "fed", "127.0.0.1", 8123, local_port=8123)
    assert check_outside(kit).startswith("sites on this machine alone")


def test_beyond_loopback_only_what_is_asked_for(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        check_bound(host, exposed=False)
    for host in ("0.0.0.0", "192.0.2.1", "fl.example.org"):
        words = "they can RUN CODE ON THIS MACHINE and ask .*add --exposed where a firewall"
        with pytest.raises(PlanError, match=words):
            check_bound(host, exposed=False)
        check_bound(host, exposed=True)
