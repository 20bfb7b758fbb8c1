"""A federation whose messages are noted: which arrays cross the wire, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid

from echofm_core.contract import group_of
from echofm_core.plan.document import Plan
from server.ending import FederationResult
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import with_states

#: Of one federation: (message type, round or 0, record, arrays, bytes), one row a site.
Row = tuple[str, str, str, frozenset[str], int]


@dataclass
class Wiretap:
    """Notes the arrays of all messages of a grid.

    Attributes:
        starts: (message type, round, node) -> the model that it was sent, by name, as bytes.
        beside: The same, of the arrays beside the model: ``base/NAME``.
        ends: (message type, round, node) -> what it sent, by name, as bytes.
        numbers: (message type, round) -> settings of an instruction, one a site.
    """

    sent: list[Row] = field(default_factory=list)
    returned: list[Row] = field(default_factory=list)
    starts: dict[tuple[str, str, int], dict[str, bytes]] = field(default_factory=dict)
    beside: dict[tuple[str, str, int], dict[str, bytes]] = field(default_factory=dict)
    ends: dict[tuple[str, str, int], dict[str, bytes]] = field(default_factory=dict)
    numbers: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)

    def on(self, grid: Grid) -> Grid:
        push, pull = grid.push_messages, grid.pull_messages

        def pushed(messages: list[Message]) -> list[str]:
            for message in messages:
                self.sent += rows(message)
                about, config = message.metadata, message.content["config"]
                key = (about.message_type, about.group_id)
                names, values = config["settings-names"], config["settings-values"]
                self.numbers.setdefault(key, []).append(dict(zip(names, values, strict=True)))
                for record, kept in (("arrays", self.starts), ("extra", self.beside)):
                    if record in message.content:
                        kept.setdefault((*key, about.dst_node_id), bytes_of(message, record))
            return list(push(messages))

        def pulled(ids: list[str]) -> list[Message]:
            replies = list(pull(ids))
            for reply in replies:
                self.returned += rows(reply)
                about = reply.metadata
                if not reply.has_error() and "arrays" in reply.content:
                    key = (about.message_type, about.group_id, about.src_node_id)
                    self.ends[key] = bytes_of(reply, "arrays")
            return replies

        grid.push_messages, grid.pull_messages = pushed, pulled  # type: ignore[method-assign]
        return grid


def bytes_of(message: Message, record: str) -> dict[str, bytes]:
    return {name: array.data for name, array in message.content[record].items()}


def rows(message: Message) -> list[Row]:
    about = message.metadata
    if message.has_error():
        return []
    return [
        (about.message_type, about.group_id, name, frozenset(record), record.count_bytes())
        for name, record in message.content.items()
        if isinstance(record, ArrayRecord)
    ]


def federate(
    sites: list[SiteSettings], plan: Plan, folder: Path, *, resume: bool = False, **more: object
) -> tuple[FederationResult, Wiretap]:
    tap = Wiretap()
    with Engine() as engine:
        grid = tap.on(engine.grid(with_states(sites, folder / "state")))
        result = run_federation(grid, plan, folder / "run", resume=resume, **more)  # type: ignore[arg-type]
    return result, tap


def groups(rows: list[Row], record: str, round_: str, kind: str = "train.finetune") -> set[str]:
    kept = [row for row in rows if row[0] == kind and row[1:3] == (round_, record)]
    return {group_of(name) for row in kept for name in row[3]}
