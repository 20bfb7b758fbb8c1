"""What happens in a federation, for whoever shows its progress."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from echofm_core.privacy.config import NO_LOSS
from echofm_core.runtime.text import many
from server.journal import Entry


class EventKind(StrEnum):
    """Stages that are worth a line."""

    WAITING = "waiting"
    DESCRIBED = "described"
    JOINED = "joined"
    ROUND = "round"
    VALIDATED = "validated"
    WARNED = "warned"
    EVALUATED = "evaluated"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        phase: ``pretrain``, ``finetune`` or empty.
        round, rounds: Which round of how many; 0 outside of training.
        sites: Sites it concerns: waited for, described, late, folded in, or evaluated.
        refused: Site -> why it did not count.
        warnings: Site -> what it has hardly learnt.
        quarantined: Site -> files that it cannot use, of described ones.
        untrained: Planned tasks that no described site has training labels for.
        digest: Of the new global weights.
        loss: Mean training loss over the sites that counted, by clips; NaN if none was reported.
        validation: Mean loss on the sites' validation patients, of the weights that a round began
            with or of the phase's last ones; NaN if none was reported.
        private: Some site trained privately, and reported no loss.
        seconds: How long it took.
        replayed: The round was read from the journal, not trained again.
    """

    kind: EventKind
    phase: str = ""
    round: int = 0
    rounds: int = 0
    sites: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    digest: str = ""
    loss: float = math.nan
    validation: float = math.nan
    private: bool = False
    seconds: float = 0.0
    replayed: bool = False

    @property
    def round_done(self) -> bool:
        """True once for each round of a run, resumed ones included."""
        return self.kind is EventKind.ROUND

    def line(self) -> str:
        """The event as one line of text, with a further line for each site that has one."""
        names, count = ", ".join(self.sites), many(len(self.sites), "site")
        refused = "".join(f"\n  {site} did not count: {why}" for site, why in self.refused.items())
        number = f"{self.phase} round {self.round}/{self.rounds}"
        match self.kind:
            case EventKind.WAITING:
                return f"waiting for {names or 'sites'} ({self.seconds:.0f} s){refused}"
            case EventKind.DESCRIBED:
                tasks = ", ".join(self.untrained)
                end = f"\n  no site has training labels for {tasks}; not trained" if tasks else ""
                return f"{count}: {names}{refused}{end}"
            case EventKind.JOINED:
                since = f"from {number} on" if self.round else "from the next phase on"
                return f"{names} came late, and can take part {since}"
            case EventKind.WARNED:
                lines = [f"\n  {site}: {what}" for site, what in self.warnings.items()]
                return f"{self.phase} ended with warnings{''.join(lines)}"
            case EventKind.VALIDATED:
                loss = f"validation loss {self.validation:.4f} at {names}"
                return f"{number}: {loss if names else 'no validation loss'}{refused}"
            case EventKind.EVALUATED:
                return f"evaluated at {names or 'no site'} in {self.seconds:.1f} s{refused}"
            case EventKind.ROUND:
                how = "from the journal" if self.replayed else f"{self.seconds:.1f} s"
                losses, weights = self._losses(), self.digest[:12]
                return f"{number}: {count}, {losses}, weights {weights}, {how}{refused}"

    def _losses(self) -> str:
        """The losses in words; private training, and a mean without a part, say so."""
        if math.isnan(self.loss):
            text = NO_LOSS if self.private else "no site reported its loss"
        else:
            text = f"loss {self.loss:.4f}" + (f" ({NO_LOSS})" if self.private else "")
        if math.isnan(self.validation):
            return text
        return f"{text}, validation loss of round {self.round - 1} {self.validation:.4f}"


#: Receives events as they happen, in the thread that runs the federation.
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An :data:`OnEvent` that shows nothing."""


def round_event(
    entry: Entry, rounds: int, *, replayed: bool = False, validation: float = math.nan
) -> Event:
    """A journal entry as something to show; arguments as of :class:`Event`."""
    parts = entry.sites.values()
    losses = [
        (max(part.counts.values()), part.metrics["loss"])
        for part in parts
        if "loss" in part.metrics
    ]
    total = sum(count for count, _ in losses)
    return Event(
        kind=EventKind.ROUND,
        phase=entry.phase.value,
        round=entry.round,
        rounds=rounds,
        sites=tuple(entry.sites),
        refused=entry.refused,
        digest=entry.digest,
        loss=sum(count * loss for count, loss in losses) / total if total else math.nan,
        private=any("epsilon" in part.metrics and "loss" not in part.metrics for part in parts),
        validation=validation,
        seconds=entry.seconds,
        replayed=replayed,
    )
