"""Synthetic sites with controlled label skew: patients dealt out by a Dirichlet draw."""

import numpy as np
import pandas as pd

from echofm_core.data.patients import patient_keys
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.runtime.randomness import stream
from echofm_core.runtime.text import many

#: Edges of the EF classes that are skewed, in percent.
EF_BINS = (30.0, 40.0, 50.0, 60.0)


class Dirichlet:
    """``clients`` synthetic sites; each label class is spread by Dirichlet(``alpha``).

    Whole patients are dealt out, so no patient is at two sites. Source: Hsu 2019, with EF bins or
    AS grades as classes.
    """

    caveat = "Sites are SYNTHETIC (Dirichlet label skew): nothing here is institutional."
    synthetic = True

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """``client-00`` ... of every row.

        Raises:
            EmptySiteError: A site would get fewer than ``min_patients`` patients.
        """
        key = patient_keys(manifest)
        classes = _label_class(manifest).groupby(key).max().sort_index()
        rng = stream(seed, "", 0, "protocol.dirichlet")
        home: dict[str, str] = {}
        for label in sorted(classes.unique()):
            members = np.array(classes.index[classes == label], dtype=object)
            rng.shuffle(members)
            shares = rng.dirichlet(np.full(config.clients, config.alpha))
            cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
            for client, part in enumerate(np.split(members, cuts)):
                home.update(dict.fromkeys(part, f"client-{client:02d}"))
        sites = key.map(home).astype("string")
        sizes = key.groupby(sites).nunique()
        smallest = 0 if len(sizes) < config.clients else int(sizes.min())
        if smallest < config.min_patients:
            raise EmptySiteError(
                f"protocol dirichlet leaves a site with {many(smallest, 'patient')}, "
                f"min_patients is {config.min_patients}: raise alpha, lower clients, change seed."
            )
        return sites


def _label_class(manifest: pd.DataFrame) -> pd.Series:
    """One integer class a row: EF bin, else 10 + AS grade, else 99."""
    ef = manifest["ef"].astype("Float64")
    binned = pd.Series(
        np.digitize(ef.fillna(0.0).to_numpy(dtype=float), EF_BINS), index=manifest.index
    )
    grade = (manifest["as_grade"].astype("Int64") + 10).fillna(99).astype(int)
    return binned.where(ef.notna(), grade).astype(int)
