"""What passed over a cable: TCP streams put together from a file of tcpdump, and read as TLS."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Kinds of TLS records: change of cipher, alert, handshake, application data.
KINDS = range(20, 24)
#: Most bytes of a record behind its head of five (RFC 5246, 6.2.3).
MOST = 2**14 + 2048
_SYN = 0x02


@dataclass
class Stream:
    """One direction of a connection.

    Attributes:
        start: Sequence number of its first byte; None: its beginning was not captured.
        parts: Sequence number -> bytes.
    """

    start: int | None = None
    parts: dict[int, bytes] = field(default_factory=dict)

    def content(self) -> bytes:
        """What was sent, in order.

        Raises:
            ValueError: The beginning, or something between, was not captured.
        """
        if self.start is None:
            raise ValueError("the beginning of a stream was not captured")
        whole = bytearray()
        for at, part in sorted(
            ((at - self.start) % 2**32, part) for at, part in self.parts.items()
        ):
            if at > len(whole):
                raise ValueError(f"{at - len(whole)} bytes of a stream were not captured")
            if at + len(part) > len(whole):  # not what was sent again
                whole[at:] = part
        return bytes(whole)


#: Who sent to whom: address and port, twice.
Ends = tuple[str, int, str, int]


def streams(file: Path) -> dict[Ends, Stream]:
    """The streams in which something was sent."""
    found: dict[Ends, Stream] = {}
    for ends, number, flags, payload in _segments(file.read_bytes()):
        stream = found.setdefault(ends, Stream())
        if flags & _SYN:
            stream.start = number + 1
        elif payload and len(payload) >= len(stream.parts.get(number, b"")):
            stream.parts[number] = payload
    return {ends: stream for ends, stream in found.items() if stream.parts}


def records(stream: bytes) -> Iterator[int]:
    """Kinds of the TLS records of which a stream is made; its last one may be cut.

    Raises:
        ValueError: There is something else in it.
    """
    at = 0
    while at + 5 <= len(stream):
        kind, version, size = struct.unpack_from("!BHH", stream, at)
        if kind not in KINDS or version not in range(0x0301, 0x0305) or size > MOST:
            raise ValueError(f"no TLS record at byte {at}: {stream[at : at + 40]!r}")
        yield kind
        at += 5 + size


def _segments(raw: bytes) -> Iterator[tuple[Ends, int, int, bytes]]:
    """Ends, sequence number, flags and payload of each TCP segment over IPv4 over Ethernet."""
    magic, *_, link = struct.unpack_from("<IHHiIII", raw)
    if magic != 0xA1B2C3D4 or link != 1:
        raise ValueError("no capture of Ethernet by this machine's tcpdump")
    at = 24
    while at + 16 <= len(raw):
        _, _, size, whole = struct.unpack_from("<IIII", raw, at)
        frame = raw[at + 16 : at + 16 + size]
        at += 16 + size
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        if size < whole:
            raise ValueError("tcpdump has cut a packet")
        packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
        segment = packet[4 * (packet[0] & 15) :]
        source, target, number, _, offset, flags = struct.unpack_from("!HHIIBB", segment)
        ends = (_address(packet[12:16]), source, _address(packet[16:20]), target)
        yield ends, number, flags, segment[4 * (offset >> 4) :]


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw))
