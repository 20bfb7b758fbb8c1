"""Synthetic sites: whole patients are dealt out, so that no patient is at two sites."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.data.patients import patient_keys
from echofm_core.plan.protocol import ProtocolConfig
from echofm_core.runtime.errors import EmptySiteError
from echofm_core.runtime.randomness import stream
from echofm_core.runtime.text import many

People = NDArray[np.object_]


class Dealt:
    """``clients`` synthetic sites, ``client-00`` and so on."""

    synthetic = True

    def site_of(self, manifest: pd.DataFrame, config: ProtocolConfig, seed: int) -> pd.Series:
        """``client-00`` ... of every row.

        Raises:
            EmptySiteError: A site would get fewer than ``min_patients`` patients.
        """
        key = patient_keys(manifest)
        rng = stream(seed, "", 0, f"protocol.{config.name.value}")
        home: dict[str, str] = {}
        for parts in self.parts(manifest, key, config, rng):
            for client, people in enumerate(parts):
                home.update(dict.fromkeys(people, f"client-{client:02d}"))
        sites = key.map(home).astype("string")
        _check(key.groupby(sites).nunique(), config)
        return sites

    def parts(
        self,
        manifest: pd.DataFrame,
        key: pd.Series,
        config: ProtocolConfig,
        rng: np.random.Generator,
    ) -> Sequence[Sequence[People]]:
        """Patients of every class of them, in as many parts as there are sites."""
        raise NotImplementedError


def shuffled(people: pd.Index, rng: np.random.Generator) -> People:
    """Patients in a drawn order, which does not depend on that of the manifest."""
    members = np.array(sorted(people), dtype=object)
    rng.shuffle(members)
    return members


def cut(people: People, shares: NDArray[np.float64]) -> list[People]:
    """Parts of patients, by the share of each."""
    cuts = np.round(np.cumsum(shares)[:-1] * len(people)).astype(int)
    return np.split(people, cuts)


def skewed(
    classes: pd.Series, config: ProtocolConfig, rng: np.random.Generator
) -> list[list[People]]:
    """Patients of each class, spread over the sites by Dirichlet(``alpha``): Hsu 2019.

    Args:
        classes: Class of each patient, by key.
    """
    parts = []
    for name in sorted(classes.unique()):
        members = shuffled(classes.index[classes == name], rng)
        parts.append(cut(members, rng.dirichlet(np.full(config.clients, config.alpha))))
    return parts


def _check(sizes: Mapping[str, int] | pd.Series, config: ProtocolConfig) -> None:
    smallest = 0 if len(sizes) < config.clients else int(min(sizes))
    if smallest < config.min_patients:
        raise EmptySiteError(
            f"protocol {config.name.value} leaves a site with {many(smallest, 'patient')}, "
            f"min_patients is {config.min_patients}: raise alpha, lower clients or spread, change "
            "seed."
        )
