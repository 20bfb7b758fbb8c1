"""What a local round is told, and what it reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from echofm_core.privacy.config import PrivacyConfig, PrivacyKind
from echofm_core.training.config import PhaseConfig, Precision
from echofm_core.training.execution.config import ExecutionConfig
from echofm_core.training.execution.ranks import ALONE, Ranks


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalContext:
    """Where in the federation this local round stands.

    Attributes:
        seed: The plan's seed.
        site: Site name.
        round: Global round within the phase, from 1.
        rounds: Rounds of the phase; the learning-rate schedule spans all of them.
        execution: How this machine computes it.
        proximal_mu: Weight of the FedProx term; 0 is FedAvg.
        control: Correct gradients by a control variate (SCAFFOLD), from the state folder.
        state: The site's folder for this run: kept optimizer moments, an unfinished round and the
            privacy ledger.
        privacy: The plan's table.
        noise_multiplier: Noise of private training where the plan names an epsilon instead, from
            :func:`echofm_core.privacy.accounting.resolve_noise`.
        ranks: This process among those that share the round. Decides nothing but rounding.
    """

    seed: int
    site: str
    round: int
    rounds: int
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    proximal_mu: float = 0.0
    control: bool = False
    state: Path | None = None
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    noise_multiplier: float | None = None
    ranks: Ranks = ALONE

    def precision(self, config: PhaseConfig) -> Precision:
        """Number format of this round; float32 where a clipped gradient's norm must be exact."""
        private = self.privacy.kind is not PrivacyKind.NONE
        return Precision.FP32 if private else config.precision


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundReport:
    """What a local round did, beside changing the model in place.

    Attributes:
        counts: Parameter group -> training clips behind it. A group that was frozen, or a head
            without labels here, is absent: it is bitwise what it was. Counts travel to the server
            in clear, under differential privacy too: how many clips have which label is not
            protected, what is in them is.
        metrics: Numbers for the journal.
    """

    counts: Mapping[str, int]
    metrics: Mapping[str, float]
