"""Who takes part: sites are gathered before anything else, and chosen for each phase."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from echofm_core.contract import DECODER, HEADS, TRUNK, Phase
from echofm_core.plan.document import Plan
from echofm_core.runtime.errors import FederationError
from echofm_core.runtime.text import many
from echofm_core.tasks import Task
from server.events import Event, EventKind, OnEvent
from server.phase_run import Participant
from server.reception import PATIENCE, Reception, Site
from server.run import Run
from server.wire import reasons

#: Seconds between two looks for sites that are not there yet.
INTERVAL = 2.0


def gather_sites(
    run: Run,
    on_event: OnEvent,
    *,
    members: Mapping[str, int] = MappingProxyType({}),
    wait_seconds: float = 600.0,
    least: int | None = None,
) -> dict[str, Site]:
    """The sites that :func:`gather` finds, where nobody joins later."""
    reception = Reception(run, members)
    gather(reception, on_event, wait_seconds=wait_seconds, least=least)
    return reception.sites


def gather(
    reception: Reception,
    on_event: OnEvent,
    *,
    wait_seconds: float = 600.0,
    least: int | None = None,
) -> None:
    """Wait until all expected sites are there, or those that are have waited long enough.

    Once they can train, the others have ``federation.gather_seconds``. A member whose policy
    declines the plan is not waited for, but asked again meanwhile.

    Args:
        reception: Of all who may come.
        on_event: Shows who is waited for.
        wait_seconds: How long at most; 0: every member has to be there at once.
        least: Sites to wait for where no name is expected; None: ``federation.min_sites``, which
            is a quorum of training.

    Raises:
        FederationError: Too few sites are there after that time, all decline, or two call
            themselves the same.
    """
    plan = reception.run.plan
    least = plan.federation.min_sites if least is None else least
    wait_seconds = 0.0 if reception.at_once else wait_seconds
    started, shown, since = time.monotonic(), 0.0, 0.0
    reception.look()
    while True:
        age, missing = time.monotonic() - started, reception.missing()
        settled = not reception.pending
        if len(reception.sites) >= least:
            if settled and not missing:
                break
            if wait_seconds and _can_train(reception.sites, plan):
                since = since or age
                if age >= min(since + plan.federation.gather_seconds, wait_seconds):
                    break
        over = age >= wait_seconds and (settled or age >= PATIENCE)
        if over or reception.all_decline(least):
            raise FederationError(_too_few(reception, least, age))
        if not shown or age - shown > 30:
            shown, refused = age, dict(reception.refused)
            on_event(Event(kind=EventKind.WAITING, sites=missing, refused=refused, seconds=age))
        reception.look(again=True, wait=INTERVAL)
    reception.gathered = True
    refused = reception.refused | dict.fromkeys(missing, "it has not come yet, and may join later.")
    names, untrained = tuple(reception.sites), _untrained(reception.sites, plan)
    on_event(
        Event(
            kind=EventKind.DESCRIBED,
            sites=names,
            refused=refused,
            quarantined=reception.quarantined(),
            untrained=untrained,
        )
    )


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


def _can_train(sites: Mapping[str, Site], plan: Plan) -> bool:
    """Whether each planned phase has its quorum."""
    with suppress(FederationError):
        for phase in Phase:
            if plan.rounds_of(phase):
                participants_of(sites, phase, plan.finetune.tasks, plan.federation.min_sites)
        return True
    return False


def _untrained(sites: Mapping[str, Site], plan: Plan) -> tuple[str, ...]:
    """Planned tasks that no site has training labels for."""
    labelled = {task for site in sites.values() for task, n in site.about.labels.items() if n}
    planned = [task.value for task in plan.finetune.tasks if plan.finetune.rounds]
    return tuple(task for task in planned if task not in labelled)


def _too_few(reception: Reception, needed: int, age: float) -> str:
    """Which sites are there after ``age`` seconds, and which are not."""
    found, missing = reception.sites, reception.missing()
    wanted = f"{', '.join(missing)} missing" if missing else f"federation.min_sites is {needed}"
    why = f"; {reasons(reception.refused)}" if reception.refused else ""
    what = "have it approved" if reception.all_decline(needed) else "start the sites"
    return (
        f"after {age:.0f} s {many(len(found), 'site is', 'sites are')} there "
        f"({', '.join(found) or 'none'}), {wanted}{why}; {what} and run again."
    )
