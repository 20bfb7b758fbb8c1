"""The contract of a protocol: manifests in, sites and patient-disjoint splits out."""

from __future__ import annotations

from typing import Protocol

import pandas as pd

from echofm_core.plan.protocol import ProtocolConfig


class SiteRule(Protocol):
    """Says at which site each patient is; splitting is the same for all rules.

    Rules see whole patients: :mod:`simulations.protocols.assign` refuses one that tears a patient
    apart.
    """

    caveat: str
    """What a reader of the results must know; printed under every table."""
    synthetic: bool
    """True where the sites are not institutions or devices, but made by us."""

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """Site name of every row (string, no nulls), index as in ``manifest``."""
        ...
