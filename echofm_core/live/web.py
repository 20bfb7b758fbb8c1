"""A run in a browser of this machine: a page that reads only, for whoever has its address.

Symptom: any page that a browser shows, and any user of the machine, can ask a server on loopback.
Reason: loopback keeps other machines out, not other programs. Protocol: the server listens on
127.0.0.1 alone, at an address with a random token. The token is exchanged for a cookie at the first
visit; without either nothing is answered. A request that names another host is refused, so that a
foreign name that is made to point here (DNS rebinding) leads nowhere; the page may load nothing but
its own three files. What can still go wrong: who can read this user's terminal has the address.
"""

import asyncio
import contextlib
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from importlib.resources import files
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from echofm_core.live.view import View
from echofm_core.runtime.errors import OutputError

LOOPBACK = "127.0.0.1"
#: What a request may call this machine.
NAMES = frozenset({LOOPBACK, "localhost", "::1"})
#: Seconds between two looks at the run, and after which a silent stream gives a sign of life.
INTERVAL, QUIET = 1.0, 15.0
#: Seconds that the server has to end.
GRACE = 2.0
#: With every answer: nothing is loaded from elsewhere, framed, kept, or passed to others.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@contextlib.contextmanager
def serving(source: Callable[[], View], port: int = 0) -> Iterator[str]:
    """Serve the page of a run while the block runs; yields its address, token and all.

    Args:
        source: Gives the run as it is now.
        port: On loopback; 0: any free one.

    Raises:
        OutputError: The port is taken.
    """
    try:
        listening = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise OutputError(
            f"port {port} of {LOOPBACK} cannot be used ({error.strerror}); give another --port, or "
            "none for any that is free."
        ) from error
    token, port, over = secrets.token_urlsafe(32), listening.getsockname()[1], threading.Event()
    config = uvicorn.Config(
        application(source, token, f"echofm-{port}", over),
        access_log=False,  # it would have the token
        log_level="error",
        lifespan="off",
        proxy_headers=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    # Not in the main thread: signals are for the command.
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{port}/?token={token}"
    finally:
        over.set()
        server.should_exit = True
        thread.join(GRACE)
        listening.close()


def application(
    source: Callable[[], View], token: str, cookie: str, over: threading.Event
) -> ASGIApp:
    """The page, its files, and the run as JSON, once or as a stream.

    Args:
        source: Gives the run as it is now.
        token: Who has it may look.
        cookie: Name of the cookie that has the token from then on.
        over: Set when streams are to end.
    """
    latest = _Latest(source)
    package = files(__package__)
    style = files("echofm_core.pages").joinpath("page.css").read_text(encoding="utf-8")
    pages = {
        "/": ("text/html", package.joinpath("page.html").read_text(encoding="utf-8")),
        "/live.js": ("text/javascript", package.joinpath("live.js").read_text(encoding="utf-8")),
        "/live.css": (
            "text/css",
            style + package.joinpath("live.css").read_text(encoding="utf-8"),
        ),
    }

    async def page(request: Request) -> Response:
        kind, text = pages[request.url.path]
        return Response(text, media_type=kind)

    async def state(request: Request) -> Response:
        return Response(await run_in_threadpool(latest.text), media_type="application/json")

    async def events(request: Request) -> Response:
        return StreamingResponse(_stream(latest, over), media_type="text/event-stream")

    routes = [Route(path, page) for path in pages]
    routes += [Route("/state.json", state), Route("/events", events)]
    return _Guard(Starlette(routes=routes), token, cookie)


class _Latest:
    """The run as JSON, read at most once a second for however many pages."""

    def __init__(self, source: Callable[[], View]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._read = -INTERVAL
        self._text = ""

    def text(self) -> str:
        with self._lock:
            if time.monotonic() - self._read >= INTERVAL / 2:
                self._text = as_json(self._source())
                self._read = time.monotonic()
            return self._text


def as_json(view: View) -> str:
    """A view for the page; sets become lists."""
    return json.dumps(asdict(view), default=sorted, allow_nan=False)


async def _stream(latest: _Latest, over: threading.Event) -> AsyncIterator[str]:
    """Server-sent events: the run whenever it has changed."""
    last, said = "", 0.0
    while not over.is_set():
        text = await run_in_threadpool(latest.text)
        if text != last or time.monotonic() - said > QUIET:
            yield f"data: {text}\n\n" if text != last else ": nothing new\n\n"
            last, said = text, time.monotonic()
        until = time.monotonic() + INTERVAL
        while not over.is_set() and time.monotonic() < until:
            await asyncio.sleep(0.1)


class _Guard:
    """Lets through who calls this machine by its name, and has the token."""

    def __init__(self, app: ASGIApp, token: str, cookie: str) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served here")
        answer = self._refusal(Request(scope)) or self._app

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await answer(scope, receive, send_guarded)

    def _refusal(self, request: Request) -> Response | None:
        """What is answered in place of a page; None where nothing is in the way."""
        if not _is_local(request.headers.get("host", "")):
            return PlainTextResponse("This page is for 127.0.0.1 and localhost alone.", 403)
        named = request.query_params.get("token")
        given = request.cookies.get(self._cookie) if named is None else named
        if given is None:
            return PlainTextResponse("Open the whole address that `echofm` has printed.", 401)
        if not secrets.compare_digest(given.encode(), self._token.encode()):
            return PlainTextResponse("This is not the token of this page.", 403)
        if named is None or request.url.path != "/":
            return None
        # Away from the address bar, its history, and whoever looks over a shoulder.
        moved = RedirectResponse("/", 303)
        moved.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return moved


def _is_local(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in NAMES
    except ValueError:
        return False
