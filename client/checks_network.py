"""Checks of a site's way to the server: port, keys, proxy, name, certificate, clock, admission."""

from __future__ import annotations

import base64
import email.utils
import http.client
import os
import socket
import ssl
import stat
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from client.launch import SiteFile
from echofm_core.runtime.errors import DataRootError, FederationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

#: Seconds that the server may take to answer.
PATIENCE = 10.0
#: Days of a certificate's life from which on its end is named.
SOON = 30
#: Seconds that this machine's clock may be before and behind the server's: what Flower takes of a
#: signed request, 5 and 305, less what the comparison cannot tell.
AHEAD, BEHIND = 4.0, 300.0
_KIT = "`echofm client init KIT` makes it"


class LastingFaultError(FederationError):
    """What keeps a node out however often it is started."""


class NetworkChecks:
    """Each returns what it found, or raises what is wrong and what to do.

    Attributes:
        folder: Of the site.
        site: Its settings.
        number: Local port of the node's own interface.
    """

    folder: Path
    site: SiteFile
    number: int

    def port(self) -> str:
        """Nobody has it.

        Raises:
            FederationError: It is in use.
        """
        with socket.socket() as trial:
            # As the node itself: what a node that has ended left in TIME_WAIT is in nobody's use.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind(("127.0.0.1", self.number))
            except OSError:
                raise FederationError(
                    f"port {self.number} of this machine is in use, perhaps by this site's own "
                    "running node; stop it, or choose another with --port."
                ) from None
        return f"{self.number} is free"

    def keys(self) -> str:
        """Private and public key belong together, and the private one is private.

        Raises:
            DataRootError: One is missing, damaged or open to others, or they are no pair.
        """
        from cryptography.hazmat.primitives.serialization import load_ssh_public_key

        private, public, authority = (
            self.folder / name for name in ("node.key", "node.pub", "ca.crt")
        )
        for path in (private, public, authority):
            if not path.is_file():
                raise DataRootError(f"{path} is missing; {_KIT}.")
        try:
            key = load_ssh_public_key(public.read_bytes())
        except ValueError:
            raise DataRootError(f"{public} holds no public key; {_KIT}.") from None
        pair = f"node.key and node.pub of {self.folder}"
        if self._private_key().public_key() != key:
            raise DataRootError(f"{pair} do not belong together; {_KIT}.")
        mode = stat.S_IMODE(private.stat().st_mode)
        if os.name == "posix" and mode & 0o077:
            raise DataRootError(f"{private} can be read by others (mode {mode:o}); chmod 600 it.")
        return f"{pair} belong together"

    def proxy(self) -> str:
        """What the variables of a forward proxy mean for the node, whose client heeds them.

        Raises:
            FederationError: It is of a kind that is not known to work.
        """
        host, _ = self._address()
        named = ", ".join(sorted({f"{name.upper()}_PROXY" for name in getproxies()}))
        proxy = self._proxy()
        if proxy is None:
            why = f" ({named} set, and NO_PROXY or no HTTPS_PROXY lets {host} be)" if named else ""
            return f"none for {host}: the node connects itself{why}"
        where = f"{proxy.hostname}:{proxy.port}" if proxy.port else str(proxy.hostname)
        if proxy.scheme != "http" or not proxy.hostname:
            raise FederationError(
                f"{named} send the node to {proxy.scheme}://{where}, and only a proxy at http:// "
                f"is known to work; change HTTPS_PROXY, or put {host} into NO_PROXY."
            )
        return (
            f"the node goes to {host} through {where}, as {named} say; `server` below takes the "
            f"same way, and NO_PROXY={host} would avoid it"
        )

    def address(self) -> str:
        """The name of the server, or of the proxy that is asked for it, is known here.

        Raises:
            FederationError: It is not known.
        """
        host = (proxy.hostname if (proxy := self._proxy()) else None) or self._address()[0]
        try:
            found = sorted({str(item[4][0]) for item in socket.getaddrinfo(host, None)})
        except OSError as error:
            raise FederationError(
                f"the name {host} is not known here ({error.strerror}); ask for it at this "
                "machine's name server, or mend `server` in site.toml."
            ) from None
        return f"{host} is {', '.join(found[:4])}"

    def server(self) -> str:
        """It is there, and its certificate comes from the kit's authority for that name."""
        server = self.site.server
        try:
            with self._connected() as safe:
                certificate = safe.getpeercert() or {}
        except OSError as error:  # of which ssl.SSLError is one
            lasts = isinstance(error, ssl.SSLCertVerificationError)
            raise (LastingFaultError if lasts else FederationError)(
                f"{server} cannot be reached safely ({error}); {_remedy(error)}."
            ) from None
        ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
        days = (ends - datetime.now(UTC)).days
        soon = f"; it ends in {days} days: ask for a new kit" if days < SOON else ""
        return f"{server} has the certificate of the kit's authority until {ends:%Y-%m-%d}{soon}"

    def clock(self) -> str:
        """This machine's clock is near enough to the server's for signed requests.

        Raises:
            FederationError: It is too far from the server's.
        """
        asked = f"HEAD / HTTP/1.1\r\nHost: {self._address()[0]}\r\nConnection: close\r\n\r\n"
        try:
            with self._connected() as safe:
                safe.sendall(asked.encode())
                sent = time.time()
                answer = http.client.HTTPResponse(safe, method="HEAD")
                answer.begin()
            said = email.utils.parsedate_to_datetime(str(answer.getheader("Date")))
        except (OSError, http.client.HTTPException, ValueError):
            return "not compared: the server does not answer HTTP with a date"
        # The server cuts its time to seconds.
        ahead = (sent + time.time()) / 2 - said.timestamp() - 0.5
        words = f"{abs(ahead):.0f} s {'before' if ahead > 0 else 'behind'} the server's clock"
        if not -BEHIND < ahead < AHEAD:
            raise FederationError(
                f"this machine's clock is {words}, and signed requests are taken up to 5 s before "
                "and 305 s behind; have it set by NTP (`timedatectl set-ntp true`)."
            )
        return f"{words}, near enough"

    def admission(self) -> str:
        """The server knows this site's key, or soon does: it registers keys as it starts.

        Raises:
            FederationError: The server does not say, or does not know it.
        """
        from client.flower_private import key_is_admitted

        server = self.site.server
        asked = (server, str(self.folder / "ca.crt"), self._private_key())
        until = time.monotonic() + PATIENCE
        try:
            while not (known := key_is_admitted(*asked)) and time.monotonic() < until:
                time.sleep(1)
        except OSError as error:
            raise FederationError(
                f"{server} did not say whether it knows this site's key ({error}); clocks that "
                "differ by minutes are one reason, a proxy that does not pass /v1/fleet/ another."
            ) from None
        if not known:
            raise LastingFaultError(
                f"{server} does not know this site's key; ask the coordinator for `echofm server "
                f"admit FOLDER {self.site.name} KEY` with the key in {self.folder}/node.pub."
            )
        return f"{server} knows this site's key"

    def _private_key(self) -> ec.EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        path = self.folder / "node.key"
        try:
            key = load_ssh_private_key(path.read_bytes(), None)
        except ValueError:
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise DataRootError(f"{path} holds no private key of an elliptic curve; {_KIT}.")
        return key

    def _address(self) -> tuple[str, int]:
        host, _, port = self.site.server.rpartition(":")
        return host, int(port)

    def _proxy(self) -> SplitResult | None:
        """The proxy that Flower's client, an HTTPX one, takes to the server."""
        found = getproxies()
        url = found.get("https") or found.get("all")
        if not url or proxy_bypass(self._address()[0]):
            return None
        return urlsplit(url if "://" in url else f"http://{url}")

    def _connected(self) -> closing[ssl.SSLSocket]:
        """A TLS connection to the server, through the proxy where there is one.

        Raises:
            OSError: It cannot be had.
        """
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        host, port = self._address()
        proxy = self._proxy()
        if proxy is None:
            plain = socket.create_connection((host, port), timeout=PATIENCE)
        else:
            way = http.client.HTTPConnection(
                str(proxy.hostname), proxy.port or 80, timeout=PATIENCE
            )
            way.set_tunnel(host, port, _credentials(proxy))
            way.connect()
            plain = way.sock
        try:
            return closing(trust.wrap_socket(plain, server_hostname=host))
        except BaseException:
            plain.close()
            raise


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _remedy(error: OSError) -> str:
    """What to do about a connection that failed."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there: check host and port, and whether the coordinator has started"
    if isinstance(error, TimeoutError):
        return "no answer came: have the firewall let this machine out to it, or set HTTPS_PROXY"
    if isinstance(error, socket.gaierror):
        return "its name is not known here: check `server` in site.toml and the name server"
    if isinstance(error, ssl.SSLError):
        return (
            "check the name and ca.crt, and that no proxy between opens the connection, which "
            "would show a certificate of its own"
        )
    return "check the firewall, the name and ca.crt, and whether the coordinator has started"
