"""The promise a run makes about any one patient, and what was spent of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from echofm_core.plan.section import Section
from echofm_core.runtime.text import many

if TYPE_CHECKING:
    import pandas as pd

#: What is shown where a training loss would be: it is computed from patients' data without noise.
NO_LOSS = "loss is not reported in private training"
#: Name of a hospital's privacy ledger in its state folder.
LEDGER = "privacy-ledger.jsonl"


class PrivacyKind(StrEnum):
    """Where noise is added: nowhere, or at each site by DP-SGD."""

    NONE = "none"
    LOCAL = "local"


class PrivacyConfig(Section):
    """The ``[privacy]`` table. The unit of privacy is the patient.

    Exactly one of ``epsilon`` and ``noise_multiplier`` is given when ``kind = "local"``: with
    ``epsilon`` the noise is calibrated to it over all planned steps of both phases.
    """

    kind: PrivacyKind = PrivacyKind.NONE
    """Where noise is added."""
    epsilon: float | None = Field(default=None, gt=0, le=1e6)
    """Budget for the whole run at each site; training stops before it would be passed."""
    delta: float = Field(default=1e-5, gt=0, lt=1)
    """Probability with which the epsilon bound may fail; below 1 / patients."""
    noise_multiplier: float | None = Field(default=None, gt=0, le=1e6)
    """Standard deviation of the noise over the clipping norm."""
    clip_norm: float = Field(default=1.0, gt=0, le=1e9)
    """Largest gradient norm of one patient."""

    secure: bool = True
    """Draw noise, patients and windows from the operating system, as a hospital must; such a run
    is not repeatable. False only in simulations: who knows the seed can take the noise away."""

    @model_validator(mode="after")
    def _one_dial(self) -> PrivacyConfig:
        given = (self.epsilon is not None) + (self.noise_multiplier is not None)
        if self.kind is PrivacyKind.LOCAL and given != 1:
            raise ValueError('kind = "local" needs exactly one of epsilon and noise_multiplier')
        if self.kind is PrivacyKind.NONE and given:
            raise ValueError('epsilon or noise_multiplier is set, but kind is "none"')
        return self


@dataclass(frozen=True, slots=True)
class Budget:
    """Most that may be spent: an epsilon at a delta; None sets no limit."""

    epsilon: float | None = None
    delta: float = 1e-5


#: No limit.
UNLIMITED = Budget()


@dataclass(frozen=True, slots=True)
class Account:
    """Where a site's private rounds are charged.

    Attributes:
        folder: The site's state folder, with its ledger of all runs.
        run: Name of the run that spends.
        own: The site's own budget, over all runs.
    """

    folder: Path
    run: str = ""
    own: Budget = UNLIMITED


def spent(metrics: pd.DataFrame, delta: float) -> list[dict[str, Any]]:
    """One row a site; empty where nothing was private.

    Among the columns of ``metrics`` are site, metric and value; ``epsilon`` grows over the rounds.
    """
    table = metrics.pivot_table(index="site", columns="metric", values="value", aggfunc="max")
    if "epsilon" not in table:
        return []
    return [
        {
            "site": str(site),
            "epsilon": float(row["epsilon"]),
            "delta": delta,
            "noise_multiplier": float(row.get("noise_multiplier", float("nan"))),
        }
        for site, row in table[table["epsilon"].notna()].iterrows()
    ]


def open_rounds(metrics: pd.DataFrame) -> list[str]:
    """A sentence for each site that may have spent more than :func:`spent` says.

    A site pays for a round that it trains; where its answer was late, refused or lost, no metric
    says so. Rows are in the order of the rounds; a site's ``refused`` is of a round that did not
    count. Without any ``epsilon`` nothing was private.
    """
    if not (metrics["metric"] == "epsilon").any():
        return []
    later, known = Counter[str](), set[str]()
    for row in metrics[metrics["metric"].isin(["epsilon", "refused"])].itertuples():
        if row.metric == "epsilon":
            known.add(str(row.site))
            del later[str(row.site)]
        else:
            later[str(row.site)] += 1
    since = dict.fromkeys(known, "after the one that its epsilon is of")
    return [
        f"{site}: {many(rounds, 'round')} did not count {since.get(site, 'and none did')}, and "
        "what it spent in them stands in its own privacy ledger alone."
        for site, rounds in sorted(later.items())
    ]
