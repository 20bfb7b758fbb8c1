"""What happens in a federation, for whoever shows its progress."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from echofm_core.privacy.config import NO_LOSS
from echofm_core.runtime.text import many
from server.journal import Entry

if TYPE_CHECKING:
    from server.journal import Entry


class EventKind(StrEnum):
    """Stages that are worth a line."""

    WAITING = "waiting"
    DESCRIBED = "described"
    ROUND = "round"
    VALIDATED = "validated"
    WARNED = "warned"
    EVALUATED = "evaluated"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: What.
        phase: ``pretrain``, ``finetune`` or empty.
        round, rounds: Which round of how many; 0 outside of training.
        sites: Sites it concerns: waited for, described, folded in, or evaluated.
        refused: Site -> why it did not count.
        warnings: Site -> what it has hardly learnt.
        untrained: Planned tasks that no described site has training labels for.
        digest: Digest of the new global weights.
        loss: Mean training loss over the sites that counted, by clips; NaN if none was told.
        validation: Mean loss on the sites' validation patients, of the weights that a round began
            with or of the phase's last ones; NaN if none was reported.
        private: Some site trained privately, and told none.
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
        """The event as one line of text."""
        names = ", ".join(self.sites)
        refused = "".join(f"\n  {site} did not count: {why}" for site, why in self.refused.items())
        if self.kind is EventKind.WAITING:
            return f"waiting for {names or 'sites'} ({self.seconds:.0f} s){refused}"
        if self.kind is EventKind.DESCRIBED:
            said = f"\n  no site has training labels for {', '.join(self.untrained)}; not trained"
            told = said if self.untrained else ""
            return f"{many(len(self.sites), 'site')}: {names}{refused}{told}"
        if self.kind is EventKind.WARNED:
            told = "".join(f"\n  {site}: {what}" for site, what in self.warnings.items())
            return f"{self.phase} ended with warnings{told}"
        if self.kind is EventKind.VALIDATED:
            where = f"{self.phase} round {self.round}/{self.rounds}"
            return f"{where}: validation loss {self.validation:.4f} at {names or 'no site'}"
        if self.kind is EventKind.EVALUATED:
            return f"evaluated at {names or 'no site'} in {self.seconds:.1f} s{refused}"
        how = "from the journal" if self.replayed else f"{self.seconds:.1f} s"
        return (
            f"{self.phase} round {self.round}/{self.rounds}: {many(len(self.sites), 'site')}, "
            f"{self._loss()}{self._validation()}, weights {self.digest[:12]}, {how}{refused}"
        )

    def _validation(self) -> str:
        if math.isnan(self.validation):
            return ""
        return f", validation loss of round {self.round - 1} {self.validation:.4f}"

    def _loss(self) -> str:
        """The loss in words; private training, and a mean without a part, say so."""
        if math.isnan(self.loss):
            return NO_LOSS if self.private else "no site told its loss"
        return f"loss {self.loss:.4f}" + (f" ({NO_LOSS})" if self.private else "")


#: Receives events as they happen, in the thread that runs the federation.
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An :data:`OnEvent` that shows nothing."""


def round_event(
    entry: Entry, rounds: int, *, replayed: bool = False, validation: float = math.nan
) -> Event:
    """A journal entry as something to show.

    Args:
        entry: Of the round.
        rounds: How many the phase has.
        replayed: It was read, and not trained now.
        validation: Mean loss of the weights that the round began with, on validation patients.
    """
    clips = {site: max(part.counts.values()) for site, part in entry.sites.items()}
    losses = [
        (clips[site], part.metrics["loss"])
        for site, part in entry.sites.items()
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
        private=any(
            "epsilon" in part.metrics and "loss" not in part.metrics
            for part in entry.sites.values()
        ),
        validation=validation,
        seconds=entry.seconds,
        replayed=replayed,
    )
