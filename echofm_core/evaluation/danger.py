"""Where a model's EF is dangerously off: errors by stratum, of the models that matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from echofm_core.evaluation.cells import TOO_FEW, at
from echofm_core.evaluation.model_names import FEDERATED, LEAVE_ONE_OUT, model_order, model_title
from echofm_core.evaluation.score import ALL_SITES, study_cases, tested_sites
from echofm_core.evaluation.strata import StratumError, strata_errors
from echofm_core.tasks import Task

#: The models of a federation that are looked at: the site took part, and it did not.
WATCHED = (FEDERATED, LEAVE_ONE_OUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteStrata:
    """EF errors by stratum of one model at one site, or over all of them."""

    model: str
    site: str
    errors: list[StratumError]


def watched(models: Iterable[str]) -> list[str]:
    """Of a run's models those that are looked at; one that stands alone is."""
    order = model_order(models)
    return [model for model in WATCHED if model in order] or order[:1]


def ef_strata(predictions: Mapping[str, pd.DataFrame]) -> list[SiteStrata]:
    """EF errors of the federated and the unseen-site model, over all sites first.

    Args:
        predictions: Model name -> rows of :func:`echofm_core.training.predict.predict`.
    """
    return [
        SiteStrata(model=model, site=site, errors=strata_errors(cases.at(site)))
        for model in watched(predictions)
        if len((cases := study_cases(predictions[model], Task.EF)).truth)
        for site in whole_first(tested_sites(cases))
    ]


def strata_lines(strata: Sequence[SiteStrata], few: int) -> list[str]:
    """One sentence a model: its EF error in each stratum, over all sites."""
    lines = []
    for model in _models(strata):
        whole = next(found for found in strata if found.model == model)
        said = "; ".join(f"{one.title} {stratum_words(one, few)}" for one in whole.errors)
        lines.append(f"EF error in points, {model_title(model)} {at(whole.site)}: {said}.")
    return lines


def stratum_words(found: StratumError, few: int = 0) -> str:
    """``+13.5 (n 12)``, signed; says where there are too few, or none."""
    if not found.patients:
        return "nobody"
    scarce = f", {TOO_FEW}" if found.patients < few else ""
    return f"{found.bias:+z.1f} (n {found.patients}{scarce})"


def largest_lines(strata: Sequence[SiteStrata], few: int) -> list[str]:
    """One sentence a model: its largest error of a stratum at a single site.

    Where a stratum of too few patients has a larger one, both are named: an alarm is not hidden.
    """
    lines = []
    for model in _models(strata):
        every = [
            (found.site, one)
            for found in strata
            if found.model == model and found.site != ALL_SITES
            for one in found.errors
            if one.patients
        ]
        said, largest = [], 0.0
        for enough in (True, False):
            pairs = [pair for pair in every if (pair[1].patients >= few) is enough]
            site, one = max(pairs, key=lambda pair: abs(pair[1].bias), default=("", None))
            if one is not None and abs(one.bias) > largest:
                largest = abs(one.bias)
                said.append(f"{one.title} {at(site)} {stratum_words(one, few)}")
        if said:
            lines.append(f"Largest EF error at one site, {model_title(model)}: {'; '.join(said)}.")
    return lines


def whole_first(sites: list[str]) -> list[str]:
    """All sites together, then each; one site alone needs no line of all sites."""
    if len([site for site in sites if site != ALL_SITES]) < 2:
        return sites[:1]
    return sorted(sites, key=lambda site: (site != ALL_SITES, site))


def _models(strata: Sequence[SiteStrata]) -> list[str]:
    return list(dict.fromkeys(found.model for found in strata))
