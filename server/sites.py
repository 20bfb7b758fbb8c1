"""Who takes part: sites are asked who they are before anything else."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import MappingProxyType

from echofm_core.contract import DECODER, HEADS, TRUNK, Action, Phase, SiteDescription
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.runtime.installed_code import SOFTWARE
from echofm_core.runtime.names import EVERY_SITE, site_name_fault
from echofm_core.runtime.text import many
from echofm_core.tasks import Task
from server.admission import check_heads
from server.events import Event, EventKind, OnEvent
from server.phase import Participant
from server.replies import NoReply
from server.run import Run
from server.wire import declined, read_reply, reasons, sentence

#: Seconds between two questions for sites that are not there yet.
INTERVAL = 2.0
#: Seconds that a site has to say who it is.
PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One site that answered."""

    node: int
    about: SiteDescription


def gather_sites(
    run: Run,
    on_event: OnEvent,
    *,
    members: Mapping[str, int] = MappingProxyType({}),
    wait_seconds: float = 600.0,
    least: int | None = None,
) -> dict[str, Site]:
    """Ask every node who it is, until all expected sites are there.

    Args:
        run: Sent along.
        on_event: Shows who is waited for.
        members: Names of sites to wait for, each with the node of its key; where they are given,
            no other takes part, and none under another's name. One whose policy declines the plan
            is not waited for, and the others go on.
        wait_seconds: How long.
        least: Sites to wait for where no name is expected; None: ``federation.min_sites``, which
            is a quorum of training.

    Returns:
        Site name -> site, in name order.

    Raises:
        FederationError: Sites are missing after that time, or two call themselves the same.
    """
    found, started, last_event = _Found(members), time.monotonic(), 0.0
    least = run.plan.federation.min_sites if least is None else least
    if getattr(run.grid, "keeps_replies", False):
        wait_seconds = 0.0  # all its sites are there from the start
    while True:
        found.ask(run)
        missing = found.missing()
        if not missing and len(found.sites) >= least:
            break
        age = time.monotonic() - started
        if age >= wait_seconds:
            raise FederationError(found.too_few(missing, least, age))
        if not last_event or age - last_event > 30:
            last_event, refused = age, dict(found.refused)
            on_event(Event(kind=EventKind.WAITING, sites=missing, refused=refused, seconds=age))
        time.sleep(min(INTERVAL, wait_seconds))
    sites = dict(sorted(found.sites.items()))
    names, refused = tuple(sites), found.refused
    config = run.plan.finetune
    labelled = {task for site in sites.values() for task, n in site.about.labels.items() if n}
    planned = [task.value for task in config.tasks if config.rounds]
    untrained = tuple(task for task in planned if task not in labelled)
    on_event(Event(kind=EventKind.DESCRIBED, sites=names, refused=refused, untrained=untrained))
    return sites


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


def participants_of(
    sites: Mapping[str, Site], phase: Phase, tasks: Sequence[Task], least: int
) -> dict[str, Participant]:
    """Sites that have something to train on in a phase.

    A site without training clips never takes part; fine-tuning takes sites with a label of a
    planned task.

    Args:
        sites: Described ones.
        phase: What is trained.
        tasks: Planned ones.
        least: ``federation.min_sites``.

    Raises:
        FederationError: No site has, or fewer than ``least``.
    """
    chosen = {}
    for name, site in sites.items():
        about = site.about
        labels = {task.value: about.labels.get(task.value, 0) for task in tasks}
        if about.train_clips <= 0 or (phase is Phase.FINETUNE and not any(labels.values())):
            continue
        most = dict.fromkeys((DECODER, *TRUNK), about.train_clips)
        most |= {f"{HEADS}.{task}": count for task, count in labels.items()}
        chosen[name] = Participant(node=site.node, most=most)
    if not chosen:
        labelled = f"training labels for {', '.join(tasks)}"
        what = "training clips" if phase is Phase.PRETRAIN else labelled
        raise FederationError(
            f"no site of {', '.join(sites) or 'none'} has {what}; phase {phase.value} has nothing "
            f"to do: set {phase.value}.rounds = 0 or add a site."
        )
    if len(chosen) < least:
        raise FederationError(
            f"federation.min_sites is {least}, but {len(chosen)} of {len(sites)} sites can take "
            f"part in phase {phase.value} ({', '.join(chosen)}); lower it, or add sites."
        )
    return chosen


@dataclass(slots=True)
class _Found:
    """Sites found so far, and why some nodes are none."""

    members: Mapping[str, int]
    sites: dict[str, Site] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    declined: set[int] = field(default_factory=set)

    def missing(self) -> tuple[str, ...]:
        """Members that are not there and may still come, in name order."""
        names = (name for name, node in self.members.items() if node not in self.declined)
        return tuple(sorted(set(names) - set(self.sites)))

    def ask(self, run: Run) -> None:
        """Ask new nodes who they are and enter the answers; a late node is asked again.

        Raises:
            FederationError: Two call themselves the same.
        """
        nodes = {f"node {node}": node for node in run.grid.get_node_ids() if node not in self.asked}
        with closing(run.ask(Action.DESCRIBE, nodes, PATIENCE)) as replies:
            for name, reply in replies:
                if isinstance(reply, NoReply):
                    self.refused[name] = sentence(reply.reason)
                    continue
                self.asked.add(nodes[name])
                if declined(reply):
                    self.declined.add(nodes[name])
                try:
                    about = read_reply(reply, SiteDescription)
                    check_description(about, run.plan.federation.max_clips)
                    check_member(about.site, nodes[name], self.members)
                except RefusedUpdateError as error:
                    self.refused[name] = sentence(error)
                    continue
                if about.site in self.sites:
                    raise FederationError(
                        f"two nodes call themselves {about.site}; give each site its own name in "
                        "its node config."
                    )
                self.sites[about.site] = Site(node=nodes[name], about=about)

    def too_few(self, missing: Sequence[str], needed: int, age: float) -> str:
        """Which sites are there after ``age`` seconds, and which are not."""
        wanted = f"{', '.join(missing)} missing" if missing else f"federation.min_sites is {needed}"
        why = f"; {reasons(self.refused)}" if self.refused else ""
        return (
            f"after {age:.0f} s {many(len(self.sites), 'site is', 'sites are')} there "
            f"({', '.join(sorted(self.sites)) or 'none'}), {wanted}{why}; start the sites and run "
            "again."
        )
