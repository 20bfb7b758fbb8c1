"""What a hospital has spent of its patients' privacy, over all runs; on the hospital's own disk.

Symptom: a round that is trained again after a crash, a plan with another seed or another name costs
privacy that nobody counts. Reason: each release of noisy gradients spends, whether or not it was
used, and all of them are about the same patients. Protocol: a round is written down, with fsync,
before its first step; one writer at a time; each line carries the hash of the one before it; the
run's budget is held against the run's entries, the hospital's own against all of them. What can
still go wrong: a restored backup of the state folder forgets what was spent since.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from echofm_core.privacy.accounting import Steps, compose
from echofm_core.privacy.config import LEDGER, UNLIMITED, Budget
from echofm_core.runtime.chained_log import BrokenChainError, ChainedLog
from echofm_core.runtime.errors import PrivacyError
from echofm_core.runtime.text import many

#: Name of the file in the site's state folder.
FILE = LEDGER
#: Randomness of rounds whose noise came from the operating system: no two of them are the same.
SYSTEM = "system"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One private round.

    Attributes:
        run: Name of the run, which follows from its plan.
        rate: Probability with which a patient takes part in a step.
        randomness: Fingerprint of everything that decides the round's result, where its noise is
            repeatable; ``system`` where it is not.
    """

    phase: str
    round: int
    noise: float
    rate: float
    steps: int
    randomness: str
    run: str = ""


class Ledger:
    """Entries of one hospital, durable before the round that they stand for begins.

    A round that is done again after a crash is a second use of the patients and counts again,
    with one exception: if an entry with the same fingerprint is there, the second use gives
    bitwise what the first gave, and the same result twice reveals nothing new. The
    fingerprint covers the incoming weights, so a server that sends other weights for the same
    round is charged, and the noise, whose stream is named by the fingerprint, is another.

    Raises:
        PrivacyError: The file is damaged: what was spent is unknown, so nothing more may be.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if old := sorted(folder.glob("**/privacy-ledger.json")):
            raise PrivacyError(
                f"{folder} holds {many(len(old), 'privacy ledger')} of an earlier version, and "
                "what was spent by them would be forgotten: choose another state folder, and lower "
                "the budget by it."
            )
        try:
            self._log = ChainedLog(self.path)
            self.entries = _entries(self._log)
        except (OSError, BrokenChainError, TypeError) as error:
            raise self._damaged(error) from None

    def epsilon(self, delta: float, run: str | None = None) -> float:
        """Epsilon spent so far, in one run or in all."""
        return _epsilon(self._of(run), delta)

    def runs(self) -> dict[str, list[Entry]]:
        """Entries by run, in the order of their first one."""
        return {name: self._of(name) for name in dict.fromkeys(e.run for e in self.entries)}

    def spend(
        self, entry: Entry, delta: float, budget: float | None, own: Budget = UNLIMITED
    ) -> float:
        """Write an entry down, durably; afterwards its round may begin.

        Args:
            budget: Largest epsilon of the entry's run at ``delta``; None sets no limit.
            own: The hospital's, for all that its ledger holds.

        Returns:
            Epsilon that the entry's run has spent, this round included.

        Raises:
            PrivacyError: A budget would be passed; nothing is written. Or the file is damaged.
        """
        try:
            with self._log.writing():
                self.entries = _entries(self._log)
                if entry.randomness == SYSTEM or entry not in self.entries:
                    self._check(entry, delta, budget, own)
                    self._log.append(asdict(entry))
                    self.entries = [*self.entries, entry]
        except (OSError, BrokenChainError, TypeError) as error:
            raise self._damaged(error) from None
        return self.epsilon(delta, entry.run)

    def _check(self, entry: Entry, delta: float, budget: float | None, own: Budget) -> None:
        """Hold the entry against both budgets."""
        after = _epsilon([*self._of(entry.run), entry], delta)
        if budget is not None and after > budget:
            raise PrivacyError(
                f"the privacy budget is spent: {entry.phase} round {entry.round} would bring "
                f"epsilon to {after:.2f} at delta = {delta:g}, the plan allows {budget:g} and "
                f"{self.epsilon(delta, entry.run):.2f} is spent; this site trains no further in "
                "this run."
            )
        if own.epsilon is None:
            return
        total = _epsilon([*self.entries, entry], own.delta)
        if total > own.epsilon:
            raise PrivacyError(
                f"this site's own privacy budget is spent: {entry.phase} round {entry.round} would "
                f"bring epsilon over all its runs to {total:.2f} at delta = {own.delta:g}, its "
                f"policy allows {own.epsilon:g} and {self.epsilon(own.delta):.2f} is spent."
            )

    def _of(self, run: str | None) -> list[Entry]:
        return [entry for entry in self.entries if run is None or entry.run == run]

    def _damaged(self, error: Exception) -> PrivacyError:
        why = str(error) if isinstance(error, BrokenChainError) else type(error).__name__
        return PrivacyError(
            f"privacy ledger {self.path} cannot be used ({why}), so what was spent is unknown; "
            "restore it from a backup."
        )


def _entries(log: ChainedLog) -> list[Entry]:
    return [Entry(**record) for record in log.records]


def _epsilon(entries: Iterable[Entry], delta: float) -> float:
    return compose([(entry.noise, Steps(entry.rate, entry.steps)) for entry in entries], delta)
