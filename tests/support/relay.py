"""A slow and lossy way to a server: ``python relay.py PORT HOST:PORT --delay 0.1 --loss 0.05``.

TCP hides what is lost and sends it again, which the other end sees as a stream that stands still
for a round trip. So that is what happens here to each batch of packets that loses one; all that is
behind it waits.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from contextlib import suppress

#: Bytes of a packet, and of what is read at a time.
PACKET, BATCH = 1448, 16384


class Relay:
    """Passes connections on to a server.

    Args:
        target: Host and port of the server.
        delay: Seconds that each byte takes in each direction.
        loss: Share of packets that are lost.
        seed: Of the draws of what is lost.
    """

    def __init__(self, target: tuple[str, int], delay: float, loss: float, seed: int = 0) -> None:
        self.target, self.delay, self.loss = target, delay, loss
        self._draws = random.Random(seed)

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one on, both ways, until either end closes it."""
        try:
            there = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))
        for each in (writer, there[1]):
            each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1000)
        sender = asyncio.create_task(self._send(waiting, writer))
        clock, stands = asyncio.get_running_loop(), 0.0
        try:
            while batch := await reader.read(BATCH):
                lost = self._draws.random() > (1 - self.loss) ** (1 + len(batch) // PACKET)
                stands = max(stands, clock.time()) + (2 * self.delay if lost else 0.0)
                await waiting.put((stands + self.delay, batch))
        except OSError:
            pass
        await waiting.put((stands + self.delay, b""))
        await sender

    async def _send(
        self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        gone = False
        while True:
            when, batch = await waiting.get()
            if not batch:
                break
            if gone:
                continue  # so that who puts is not held up
            await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))
            try:
                writer.write(batch)
                await writer.drain()
            except OSError:
                gone = True
        with suppress(OSError):
            writer.write_eof()


async def serve(port: int, relay: Relay) -> None:
    """Listen, until the process ends."""
    server = await asyncio.start_server(relay.connection, "0.0.0.0", port)
    async with server:
        print("listening", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("port", type=int)
    arguments.add_argument("target", metavar="HOST:PORT")
    arguments.add_argument("--delay", type=float, default=0.0, help="seconds, each way")
    arguments.add_argument("--loss", type=float, default=0.0, help="share of packets")
    given = arguments.parse_args()
    host, _, number = given.target.rpartition(":")
    asyncio.run(serve(given.port, Relay((host, int(number)), given.delay, given.loss)))
