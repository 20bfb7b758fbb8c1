"""A run, as its sites are asked about it: one question each, and their replies as they come."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid

from echofm_core.contract import Action, Instruction
from echofm_core.plan.document import Plan
from server.replies import NoReply, Patience, Replies
from server.wire import to_message


@dataclass(frozen=True, slots=True)
class Run:
    """What all questions of a run share.

    Attributes:
        grid: Where the sites are: in this process or behind a SuperLink.
        plan: What is run.
        folder: Run folder of the server; early replies wait in it.
    """

    grid: Grid
    plan: Plan
    folder: Path

    @property
    def scratch(self) -> Path:
        """Folder for what goes with the run."""
        return self.folder / "scratch"

    def ask(
        self,
        action: Action,
        nodes: Mapping[str, int],
        seconds: float,
        *,
        arrays: ArrayRecord | None = None,
        settings: Mapping[str, float] = MappingProxyType({}),
    ) -> Generator[tuple[str, Message | NoReply]]:
        """Ask outside of any round, and yield each node's reply, or why it has none.

        Args:
            action: What to do.
            nodes: Name -> Flower's node id; over a network replies come in any order.
            seconds: Time for an answer.
            arrays, settings: As of ``Instruction``; arrays as they are sent.
        """
        if not nodes:  # no site has come yet: a SuperLink takes an empty list for an error
            return
        question = Instruction(
            action=action,
            round=0,
            plan=self.plan.to_json(),
            plan_hash=self.plan.digest(),
            run=self.plan.run_name(),
            settings=dict(settings),
        )
        messages = {
            name: to_message(question, arrays, node, seconds) for name, node in nodes.items()
        }
        with closing(open_replies(self.grid, self.scratch)) as replies:
            yield from replies.collect(messages, Patience(seconds=seconds))


def open_replies(grid: Grid, folder: Path) -> Replies:
    """The way that fits the grid; early replies wait in ``folder``, late sites end with close."""
    if getattr(grid, "keeps_replies", False):
        return Replies(grid, folder)
    from server.pulled_replies import PulledReplies

    return PulledReplies(grid, folder)
