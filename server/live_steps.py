"""What single sites do within a round, and a run's record of it for whoever watches.

Events (``server/events.py``) are sent when something is over; steps when it begins, and when a site
has answered. They cost a round nothing but a line in a record in memory.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from echofm_core.contract import Phase
from echofm_core.live.record import LiveRecord, LiveRun, ModelRecord, SiteRecord
from echofm_core.live.states import Doing, SiteState
from server.events import Event, EventKind
from server.replies import NoReply


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteStep:
    """Something begins, or sites are at another state of it.

    Attributes:
        begins: What all the sites begin now; None where it goes on.
        round, rounds: Of what begins; 0 outside of training.
        sites: Site -> its state from now on.
        why: Site -> the reason, of those that are refused, absent or gone.
    """

    begins: Doing | None = None
    round: int = 0
    rounds: int = 0
    sites: Mapping[str, SiteState] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)


#: What begins -> phases that are over then.
OVER = {
    Doing.FINETUNE: (Phase.PRETRAIN,),
    Doing.TEST: tuple(Phase),
    Doing.DONE: tuple(Phase),
}

#: A site in one of these has a reason already.
NOT_THERE = (SiteState.REFUSED, SiteState.GONE, SiteState.ABSENT)

#: Receives steps as they happen, in any thread.
OnStep = Callable[[SiteStep], None]


def ignore_step(step: SiteStep) -> None:
    """An :data:`OnStep` that keeps nothing."""


def asked(
    doing: Doing,
    sites: Iterable[str],
    absent: Mapping[str, str] = MappingProxyType({}),
    round: int = 0,
    rounds: int = 0,
) -> SiteStep:
    """Sites begin something together; others cannot be asked, each with the reason."""
    working = {Doing.VALIDATE: SiteState.VALIDATING, Doing.TEST: SiteState.TESTING}
    states = dict.fromkeys(sites, working.get(doing, SiteState.TRAINING))
    states |= dict.fromkeys(absent, SiteState.GONE)
    return SiteStep(begins=doing, round=round, rounds=rounds, sites=states, why=absent)


def answered(site: str, reply: object, refused: str = "") -> SiteStep:
    """A site's reply is there, or why there is none; with ``refused`` it does not count."""
    if isinstance(reply, NoReply):
        return SiteStep(sites={site: SiteState.GONE}, why={site: reply.reason})
    if refused:
        return SiteStep(sites={site: SiteState.REFUSED}, why={site: refused})
    return SiteStep(sites={site: SiteState.ANSWERED})


class LiveListener:
    """Enters one model's events and steps into the record of its run.

    Args:
        live: The run's; its first model is the one whose sites are kept.
        model: Name.
    """

    def __init__(self, live: LiveRun, model: str) -> None:
        self._live = live
        self._model = model

    def step(self, step: SiteStep) -> None:
        """An :data:`OnStep`."""
        with self._live.change() as record:
            if step.begins:
                self._begin(record, step.begins, step.round, step.rounds)
            for site, state in step.sites.items():
                self._site(record, site, state, step.why.get(site, ""))

    def event(self, event: Event) -> None:
        """An ``OnEvent``."""
        with self._live.change() as record:
            match event.kind:
                case EventKind.WAITING:
                    self._begin(record, Doing.GATHER)
                    self._sites(record, event, SiteState.ABSENT)
                case EventKind.DESCRIBED:
                    self._begin(record, Doing.GATHER)
                    self._sites(record, event, SiteState.READY)
                case EventKind.JOINED:
                    self._sites(record, event, SiteState.READY)
                case EventKind.ROUND:
                    self._round(record, event)
                case EventKind.EVALUATED:
                    self._begin(record, Doing.DONE)
                    self._sites(record, event, SiteState.ANSWERED)
            for site, why in event.refused.items():
                known = record.sites.get(site)
                if known is None or known.state not in NOT_THERE:
                    self._site(record, site, SiteState.REFUSED, why)

    def _own(self, record: LiveRecord) -> bool:
        return next(iter(record.models), self._model) == self._model

    def _begin(self, record: LiveRecord, doing: Doing, round: int = 0, rounds: int = 0) -> None:
        new = ModelRecord(left=dict(record.phases))
        model = record.models.setdefault(self._model, new)
        model.doing, model.round, model.rounds, model.since = doing, round, rounds, time.time()
        if doing in (Doing.PRETRAIN, Doing.FINETUNE):
            record.first = record.first or model.since
        for phase in OVER.get(doing, ()):  # one that ended early has nothing left
            model.left[phase.value] = 0

    def _round(self, record: LiveRecord, event: Event) -> None:
        if event.replayed:
            self._begin(record, Doing(event.phase), event.round, event.rounds)
            record.first = 0.0 if not record.last else record.first
        else:
            count, seconds = record.spent.get(event.phase, (0, 0.0))
            record.spent[event.phase] = (count + 1, seconds + event.seconds)
            record.last = time.time()
        record.models[self._model].left[event.phase] = event.rounds - event.round

    def _sites(self, record: LiveRecord, event: Event, state: SiteState) -> None:
        for site in event.sites:
            self._site(record, site, state, files=event.quarantined.get(site))

    def _site(
        self,
        record: LiveRecord,
        site: str,
        state: SiteState,
        why: str = "",
        files: int | None = None,
    ) -> None:
        """A site's state; whatever is no silence is a sign of life."""
        if not self._own(record):
            return
        entry = record.sites.get(site)
        if state is SiteState.GONE and (entry is None or entry.state is SiteState.ABSENT):
            state = SiteState.ABSENT  # it was never there
        entry = entry or record.sites.setdefault(site, SiteRecord(state=state))
        if state in (SiteState.READY, SiteState.ANSWERED, SiteState.REFUSED):
            entry.seen = time.time()
        entry.state, entry.why = state, why
        entry.quarantined = entry.quarantined if files is None else files
