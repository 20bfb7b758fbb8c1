"""The page's server as a program of this machine meets it: real requests to a real uvicorn."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from echofm_core.live.show import run_source
from echofm_core.live.web import serving
from echofm_core.runtime.errors import OutputError
from tests.live.made import run_toy


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.URL]:
    """The page of a finished run."""
    folder = tmp_path_factory.mktemp("web") / "run"
    run_toy(folder)
    with serving(run_source(folder)) as address:
        yield httpx.URL(address)


def ask(address: httpx.URL, path: str = "/", **options: object) -> httpx.Response:
    """Without the token, unless ``path`` has it."""
    with httpx.Client(base_url=address.copy_with(path="", query=None), trust_env=False) as client:
        return client.request(**{"method": "GET", "url": path, **options})  # type: ignore[arg-type]


def test_the_token_becomes_a_cookie_and_leaves_the_address(address: httpx.URL) -> None:
    moved = httpx.get(address, trust_env=False)
    assert (moved.status_code, moved.headers["location"]) == (303, "/")
    cookie = moved.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        page = client.get(address)
        assert page.url.query == b"" and "<main>" in page.text
        for path in ("/live.js", "/live.css", "/state.json"):
            assert client.get(page.url.join(path)).status_code == 200, path
        state = client.get(page.url.join("/state.json")).json()
        assert (state["state"], state["title"]) == ("completed", "toy")
        assert client.get(page.url.join("/elsewhere")).status_code == 404


@pytest.mark.parametrize("path", ["/", "/live.js", "/state.json", "/events", "/elsewhere"])
def test_without_the_token_nothing_is_answered(address: httpx.URL, path: str) -> None:
    none, wrong = ask(address, path), ask(address, f"{path}?token=wrong")
    assert (none.status_code, wrong.status_code) == (401, 403)
    name = f"echofm-{address.port}"
    assert ask(address, path, headers={"cookie": f"{name}=guess"}).status_code == 403
    assert "toy" not in none.text + wrong.text


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("evil.example", 403), ("evil.example:80", 403), ("127.0.0.1.evil.example", 403),
        ("10.0.0.7:8000", 403), ("", 403), ("[::", 403),
        ("localhost:9999", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("LOCALHOST", 200),
    ],
)  # fmt: skip
def test_a_foreign_host_name_leads_nowhere_even_with_the_token(
    address: httpx.URL, host: str, code: int
) -> None:
    path = f"/state.json?{address.query.decode()}"
    assert ask(address, path, headers={"host": host}).status_code == code


def test_nothing_can_be_changed(address: httpx.URL) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = ask(address, f"/state.json?{address.query.decode()}", method=method)
        assert answer.status_code == 405


@pytest.mark.parametrize("path", ["/", "/live.js", "/state.json", "/elsewhere", "/?token=wrong"])
def test_every_answer_forbids_what_the_page_does_not_need(address: httpx.URL, path: str) -> None:
    query = "" if "?" in path or path == "/" else f"?{address.query.decode()}"
    headers = ask(address, path + query).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
    assert "server" not in headers


def test_the_run_comes_as_a_stream(address: httpx.URL) -> None:
    url = address.copy_with(path="/events")
    with httpx.stream("GET", url, trust_env=False, timeout=20) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        line = next(stream.iter_lines())
    assert json.loads(line.removeprefix("data: "))["state"] == "completed"


def test_only_loopback_is_bound_and_a_taken_port_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(run_source(tmp_path)) as address:
        url = httpx.URL(address)
        assert url.host == "127.0.0.1" and len(url.params["token"]) >= 32
        with socket.socket() as other:  # loopback is a whole network
            other.settimeout(5)
            assert other.connect_ex(("127.0.0.2", url.port or 0)) != 0
        assert httpx.get(address, trust_env=False).status_code == 303
        with pytest.raises(OutputError, match="cannot be used"), serving(lambda: None, url.port):  # type: ignore[arg-type, return-value]
            pass
    assert capfd.readouterr() == ("", ""), "a log would have the token"
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)
