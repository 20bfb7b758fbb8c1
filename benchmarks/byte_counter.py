"""Counts the bytes between sites and server: a relay on loopback, which sites take for the server.

It passes on what it gets, TLS and all, without a copy into this process (``splice``: Linux), and at
once: with Nagle's algorithm each small request would wait 40 ms for the acknowledgement of the one
before, which neither a site nor a reverse proxy does.
"""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from contextlib import suppress

#: Bytes that a pipe between two sockets holds.
ROOM = 1 << 20
#: ``F_SETPIPE_SZ`` of Linux.
_SET_PIPE_SIZE = 1031


class ByteCounter:
    """A relay to a port of this machine, for as long as the block runs.

    Args:
        target: Port of the server.

    Attributes:
        port: What the sites are to connect to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._total = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])

    @property
    def total(self) -> int:
        """Bytes that went through so far, both ways together."""
        with self._lock:
            return self._total

    def __enter__(self) -> ByteCounter:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who accepts
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                site, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(site,), daemon=True).start()

    def _connect(self, site: socket.socket) -> None:
        with (
            site,
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            for end in (site, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pass_on, args=(server, site), daemon=True)
            back.start()
            self._pass_on(site, server)
            back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        """Move what comes until its sender is done, or one of the two has gone."""
        reader, writer = os.pipe()
        try:
            fcntl.fcntl(writer, _SET_PIPE_SIZE, ROOM)
            while came := os.splice(source.fileno(), writer, ROOM):
                with self._lock:
                    self._total += came
                while came:
                    came -= os.splice(reader, sink.fileno(), came)
        except OSError:
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        finally:
            os.close(reader)
            os.close(writer)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
