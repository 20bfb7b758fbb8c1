"""A run that is not ours: a bundle with code, submitted as whoever reaches the control can."""

from __future__ import annotations

import json
import time
from pathlib import Path

from flwr.cli.build import build_fab_from_files

from echofm_core.app_bundle import BUNDLE
from server.flower import ask, run_status
from server.kit import CONNECTION, Kit

#: A site that loads it leaves a mark, and sends its settings.
CLIENT = """\
from pathlib import Path

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp

Path({mark!r}).touch()
app = ClientApp()


@app.query("describe")
def steal(message, context):
    stolen = ConfigRecord({{"stolen": str(context.node_config)}})
    return Message(RecordDict({{"c": stolen}}), reply_to=message)
"""
#: Waits for all sites, and notes what they answer.
SERVER = """\
import json
import time
from pathlib import Path

from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp

app = ServerApp()


@app.main()
def main(grid, context):
    while len(nodes := list(grid.get_node_ids())) < {sites}:
        time.sleep(0.2)
    asked = [Message(RecordDict(), node, "query.describe") for node in nodes]
    replies = grid.send_and_receive(asked, timeout=120)
    said = [reply.error.reason if reply.has_error() else "answered" for reply in replies]
    Path({said!r} + ".part").write_text(json.dumps(said))
    Path({said!r} + ".part").replace({said!r})
"""


class ForeignApp:
    """The files of an app with code of its own, in a folder.

    Args:
        folder: New; its name is the app's.
        sites: How many nodes it waits for.
    """

    def __init__(self, folder: Path, sites: int = 0) -> None:
        folder.mkdir()
        self.folder, self.mark, self._said = folder, folder / "MARK", folder / "said.txt"
        settings = BUNDLE.replace("client.app:app", "foreign_client:app")
        texts = {
            "pyproject.toml": settings.replace("server.app:app", "foreign_server:app"),
            "foreign_client.py": CLIENT.format(mark=str(self.mark)),
            "foreign_server.py": SERVER.format(sites=sites, said=str(self._said)),
        }
        self.files = {name: text.encode() for name, text in texts.items()}
        for name, content in self.files.items():
            (folder / name).write_bytes(content)

    def bundle(self) -> bytes:
        """As Flower packs it."""
        return build_fab_from_files(self.files)[0]

    def run(self, kit: Kit, seconds: float = 180) -> list[str]:
        """Submit it with ``flwr run``; what each node of the federation said to it."""
        answer = ask(kit, "run", str(self.folder), CONNECTION)
        deadline = time.monotonic() + seconds
        while not self._said.exists():
            status = run_status(kit, str(answer["run-id"]))
            assert not status[0].startswith("finished:failed"), status
            assert time.monotonic() < deadline, status
            time.sleep(0.5)
        return [str(sentence) for sentence in json.loads(self._said.read_text())]
