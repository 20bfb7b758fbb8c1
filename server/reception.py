"""Who is there: nodes are asked who they are, before a run and while it goes on.

Symptom: one hospital's machine that hangs, or comes a day late, holds up all. Reason: a question
over a network has no sure answer. Protocol: each node is asked by a thread of its own, and nobody
waits for it: what has come is entered at each look. Who declines, or answers with an error, may be
asked again: the site mends it meanwhile. What can still go wrong: a node that hangs is asked again
only when its time for the first answer is over.
"""

import queue
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from types import MappingProxyType

from flwr.app import Message

from echofm_core.contract import Action, SiteDescription
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.installed_code import SOFTWARE
from echofm_core.runtime.names import EVERY_SITE, site_name_fault
from echofm_core.runtime.text import many
from server.admission import check_heads
from server.replies import NoReply
from server.run import Run
from server.wire import declined, read_reply, sentence

#: Seconds that a site has to say who it is.
PATIENCE = 300.0
#: Seconds after which a site that declined or failed may be asked again.
AGAIN = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One site that answered."""

    node: int
    about: SiteDescription


class Reception:
    """Asks nodes who they are, and knows who has answered.

    Args:
        run: Sent along.
        members: Names of admitted sites, each with the node of its key; where they are given, no
            other takes part, and none under another's name.

    Attributes:
        sites: Those that take part, by name, in name order.
        refused: Node -> why it takes no part.
        pending: Nodes that have not answered yet.
        declined: Nodes whose policy declines the plan, each with the time of its answer.
        failed: Likewise nodes that cannot say who they are, or not so that they may take part.
        gathered: The run has begun.
    """

    def __init__(self, run: Run, members: Mapping[str, int] = MappingProxyType({})) -> None:
        self.run = run
        self.members = members
        self.at_once = bool(getattr(run.grid, "keeps_replies", False))
        self.sites: dict[str, Site] = {}
        self.refused: dict[str, str] = {}
        self.pending: set[int] = set()
        self.declined: dict[int, float] = {}
        self.failed: dict[int, float] = {}
        self.gathered = False
        self._known: set[int] = set()
        self._listed: set[int] = set()
        self._answers: queue.SimpleQueue[tuple[int, Message | NoReply | Exception]]
        self._answers = queue.SimpleQueue()

    def look(self, *, again: bool = False, wait: float = 0.0) -> tuple[str, ...]:
        """Ask nodes that are new, and enter the answers that have come.

        Args:
            again: Ask those that declined or failed, too, each only every :data:`AGAIN` seconds.
            wait: Seconds to wait for an answer, where none has come.

        Returns:
            Names of the sites that are new, or have come back on another node.

        Raises:
            FederationError: Two call themselves the same, before the run has begun.
        """
        before, now = dict(self.sites), time.monotonic()
        refusals = (self.declined | self.failed).items() if again else ()
        late = {node for node, when in refusals if now - when >= AGAIN}
        self._listed = set(self.run.grid.get_node_ids())
        new = [it for it in sorted(self._listed) if it not in self._known or it in late]
        self._known.update(new)
        self.pending.update(new)
        for group in [new] if self.at_once else [[node] for node in new]:
            if self.at_once:
                self._ask(group)
            else:
                threading.Thread(target=self._ask, args=(group,), daemon=True).start()
        with suppress(queue.Empty):
            answer = self._answers.get(timeout=wait) if wait else self._answers.get_nowait()
            while True:
                self._enter(*answer)
                answer = self._answers.get_nowait()
        self.sites = dict(sorted(self.sites.items()))
        self.refused = dict(sorted(self.refused.items()))
        return tuple(name for name, site in self.sites.items() if before.get(name) != site)

    def descriptions(self) -> dict[str, SiteDescription]:
        """What each site said of itself, by name."""
        return {name: site.about for name, site in self.sites.items()}

    def quarantined(self) -> dict[str, int]:
        """Files that each site cannot use, by name."""
        return {name: site.about.quarantined for name, site in self.sites.items()}

    def missing(self) -> tuple[str, ...]:
        """Members that are not there and may still come, in name order."""
        names = (name for name, node in self.members.items() if node not in self.declined)
        return tuple(sorted(set(names) - set(self.sites)))

    def absent(self) -> dict[str, str]:
        """Members that are not there, each with the reason."""
        words = {name: self.refused.get(_name(node), "") for name, node in self.members.items()}
        gone = sorted(set(words) - set(self.sites))
        return {name: words[name] or "it has not come yet." for name in gone}

    def all_decline(self, least: int) -> bool:
        """Whether nobody is left who might take part: all members, or ``least`` nodes, declined."""
        if self.sites or self.pending or not self.declined:
            return False
        if self.members:
            return set(self.members.values()) <= self.declined.keys()
        return len(self.declined) >= least

    def _ask(self, nodes: Collection[int]) -> None:
        """Ask nodes, and pass their answers on."""
        names = {_name(node): node for node in nodes}
        try:
            with closing(self.run.ask(Action.DESCRIBE, names, PATIENCE)) as replies:
                for name, reply in replies:
                    self._answers.put((names[name], reply))
        except Exception as error:  # for the thread that looks
            for node in nodes:
                self._answers.put((node, error))

    def _enter(self, node: int, reply: Message | NoReply | Exception) -> None:
        """Take one answer.

        Raises:
            FederationError: Two call themselves the same.
        """
        if isinstance(reply, Exception):
            raise reply
        self.pending.discard(node)
        self.refused.pop(_name(node), None)
        self.declined.pop(node, None)
        self.failed.pop(node, None)
        if isinstance(reply, NoReply):
            self._known.discard(node)  # asked again where it is still listed
        elif declined(reply):
            self.declined[node] = time.monotonic()
        try:
            about = read_reply(reply, SiteDescription)
            check_description(about, self.run.plan.federation.max_clips)
            check_member(about.site, node, self.members)
        except RefusedUpdateError as error:
            self.refused[_name(node)] = sentence(error)
            if node in self._known and node not in self.declined:
                self.failed[node] = time.monotonic()
            return
        other = self.sites.get(about.site)
        if other and other.node in self._listed:
            twice = (
                f"two nodes call themselves {about.site}; give each site its own name in its node "
                "config."
            )
            if not self.gathered:
                raise FederationError(twice)
            self.refused[_name(node)] = twice  # nobody ends a run that goes on
            self._known.discard(node)  # the other one may go
            return
        self.sites[about.site] = Site(node=node, about=about)


def _name(node: int) -> str:
    return f"node {node}"


def check_member(site: str, node: int, members: Mapping[str, int]) -> None:
    """Whether a node may take part under this name; without members, any may.

    Raises:
        RefusedUpdateError: Its key is not that of the site, or of no site at all.
    """
    if not members or members.get(site) == node:
        return
    if own := [name for name, number in members.items() if number == node]:
        raise RefusedUpdateError(f"it calls itself {site}, and its key is that of {own[0]}.")
    raise RefusedUpdateError(f"it calls itself {site}, and its key is that of no admitted site.")


def check_description(about: SiteDescription, most: int = 10_000_000) -> None:
    """Whether a site may take part as it describes itself.

    Args:
        about: From the site.
        most: ``federation.max_clips``.

    Raises:
        RefusedUpdateError: Its name is no legal one, a count cannot be, or what it says of its
            software and rules is not of the form that is kept.
    """
    # The simulation's pooled arm is one site that holds every clip.
    if about.site != EVERY_SITE and (fault := site_name_fault(about.site)):
        raise RefusedUpdateError(f"its name {about.site[:80]!r} {fault}.")
    parts = {
        "training patients": about.train_patients,
        **{f"training labels of {task}": count for task, count in about.labels.items()},
    }
    tests = {f"test labels of {task}": count for task, count in about.test_labels.items()}
    whole = {
        "training clips": about.train_clips,
        "quarantined files": about.quarantined,
        "fewest patients": about.min_patients,
    }
    for what, count in (whole | parts | tests).items():
        if count < 0:
            raise RefusedUpdateError(f"its number of {what[:80]} is {count}.")
        if count > most:
            raise RefusedUpdateError(
                f"its number of {what[:80]} is {count}, federation.max_clips is {most}."
            )
        if what in parts and count > about.train_clips:
            raise RefusedUpdateError(
                f"it has {count} {what[:80]} and {many(about.train_clips, 'clip')}."
            )
    check_heads(about)
    if about.software and not SOFTWARE.fullmatch(about.software):
        raise RefusedUpdateError(f"its software {about.software[:80]!r} is no list of versions.")
