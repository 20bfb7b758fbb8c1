"""What a site has spent of its patients' privacy in a run; kept on the site's own disk.

Symptom: a round that is trained again after a crash costs privacy that nobody counts. Reason: each
release of noisy gradients spends, whether or not it was used. Protocol: a round is written down,
with fsync, before its first step; the sum over all entries is held against the budget first. What
can still go wrong: a restored backup of the state folder forgets what was spent since; another run
name is another ledger.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from echofm_core.privacy.accounting import Steps, compose
from echofm_core.runtime.errors import PrivacyError, refusing
from echofm_core.runtime.files import write_whole

#: Randomness of rounds whose noise came from the operating system: no two of them are the same.
SYSTEM = "system"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One private round.

    Attributes:
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


class Ledger:
    """Entries of one site and run, durable before the round that they stand for begins.

    A round that is done again after a crash is a second use of the patients and counts again,
    with one exception: if an entry with the same fingerprint is there, the second use gives
    bitwise what the first gave, and the same result twice reveals nothing new. The
    fingerprint covers the incoming weights, so a server that sends other weights for the same
    round is charged, and the noise, whose stream is named by the fingerprint, is another.

    Raises:
        PrivacyError: The file is damaged: what was spent is unknown, so nothing more may be.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "privacy-ledger.json"
        self.entries = _read(self.path)

    def epsilon(self, delta: float) -> float:
        """Epsilon spent so far."""
        return _epsilon(self.entries, delta)

    def spend(self, entry: Entry, delta: float, budget: float | None) -> float:
        """Write an entry down, durably; afterwards its round may begin.

        ``budget`` is the largest epsilon of the run; None sets no limit. Returns epsilon spent,
        this round included.

        Raises:
            PrivacyError: The budget would be passed; nothing is written.
        """
        if entry.randomness != SYSTEM and entry in self.entries:
            return self.epsilon(delta)
        after = _epsilon([*self.entries, entry], delta)
        if budget is not None and after > budget:
            raise PrivacyError(
                f"the privacy budget is spent: {entry.phase} round {entry.round} would bring "
                f"epsilon to {after:.2f} at delta = {delta:g}, the plan allows {budget:g} and "
                f"{self.epsilon(delta):.2f} is spent; this site trains no further in this run."
            )
        self.entries = [*self.entries, entry]
        # It must survive a power cut, or the round would be trained and forgotten.
        text = json.dumps({"entries": [asdict(entry) for entry in self.entries]}, indent=1)
        write_whole(self.path, text.encode())
        return after


def _epsilon(entries: list[Entry], delta: float) -> float:
    return compose([(entry.noise, Steps(entry.rate, entry.steps)) for entry in entries], delta)


def _read(path: Path) -> list[Entry]:
    advice = ", so what was spent is unknown; restore a backup, or start a run under another name"
    with refusing(f"privacy ledger {path} cannot be read", PrivacyError, advice):
        if not path.exists():
            return []
        return [Entry(**item) for item in json.loads(path.read_text(encoding="utf-8"))["entries"]]
