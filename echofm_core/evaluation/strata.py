"""Error of EF by stratum of the reference: a small mean error can hide two large ones."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echofm_core.evaluation.model_names import FEDERATED, LEAVE_ONE_OUT, model_order, model_title
from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score import ALL_SITES, JOINT, Cases, study_cases, test_sets
from echofm_core.evaluation.score_table import TOO_FEW, at
from echofm_core.tasks import Task

#: Strata of the reference EF in percent: title, from, to; 35 and 50 belong to the stratum that
#: begins there, 65 to the one that ends there.
STRATA = ("EF < 35", "EF 35-50", "EF 50-65", "EF > 65")
#: The models of a federation that are looked at: the site took part, and it did not.
SHOWN_MODELS = (FEDERATED, LEAVE_ONE_OUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class StratumError:
    """Errors of the studies of one stratum."""

    title: str
    """One of :data:`STRATA`."""
    bias: float
    """Mean of prediction minus reference, points; NaN without studies."""
    mae: float
    """Mean absolute error, points; likewise."""
    patients: int


def stratum_of(reference: Floats) -> NDArray[np.int64]:
    """Index into :data:`STRATA` of each EF, shape (N,)."""
    edges = (reference >= 35).astype(np.int64) + (reference >= 50) + (reference > 65)
    return np.asarray(edges, dtype=np.int64)


def strata_errors(cases: Cases) -> list[StratumError]:
    """Errors of EF cases by stratum, one entry each, empty ones included."""
    stratum, error = stratum_of(cases.truth), cases.prediction - cases.truth
    errors, found = (error, np.abs(error)), []
    for index, title in enumerate(STRATA):
        here = stratum == index
        bias, mae = (float(x[here].mean()) if here.any() else np.nan for x in errors)
        patients = len(np.unique(cases.patients[here]))
        found.append(StratumError(title=title, bias=bias, mae=mae, patients=patients))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteStrata:
    """EF errors by stratum of one model at one site, or over all of them."""

    model: str
    site: str
    errors: list[StratumError]


def shown_models(models: Iterable[str]) -> list[str]:
    """Of a run's models those that are looked at; one that stands alone is."""
    order = model_order(models)
    return [model for model in SHOWN_MODELS if model in order] or order[:1]


def ef_strata(
    predictions: Mapping[str, pd.DataFrame], unseen: Collection[str] = ()
) -> list[SiteStrata]:
    """EF errors of the federated and the leave-one-out model, over all sites first.

    From model names and their rows of :func:`echofm_core.training.predict.predict`, and the sites
    that no model trained on.
    """
    return [
        SiteStrata(model=model, site=site, errors=strata_errors(sets[site]))
        for model in shown_models(predictions)
        if len((cases := study_cases(predictions[model], Task.EF)).truth)
        for sets in [test_sets(cases, unseen)]
        for site in whole_first(list(sets))
    ]


def strata_lines(strata: Sequence[SiteStrata], few: int) -> list[str]:
    """One sentence a model: its EF error in each stratum, over all sites."""
    lines = []
    for model in _models(strata):
        whole = next(found for found in strata if found.model == model)
        text = "; ".join(f"{one.title} {stratum_words(one, few)}" for one in whole.errors)
        lines.append(f"EF error in points, {model_title(model)} {at(whole.site)}: {text}.")
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
            if found.model == model and found.site not in JOINT
            for one in found.errors
            if one.patients
        ]
        errors, largest = [], 0.0
        for enough in (True, False):
            pairs = [pair for pair in every if (pair[1].patients >= few) is enough]
            site, one = max(pairs, key=lambda pair: abs(pair[1].bias), default=("", None))
            if one is not None and abs(one.bias) > largest:
                largest = abs(one.bias)
                errors.append(f"{one.title} {at(site)} {stratum_words(one, few)}")
        if errors:
            lines.append(
                f"Largest EF error at one site, {model_title(model)}: {'; '.join(errors)}."
            )
    return lines


def whole_first(sites: list[str]) -> list[str]:
    """All sites together, then the others as they stand; one site alone needs no line of all."""
    if len([site for site in sites if site not in JOINT]) < 2:
        return sites[:1]
    return sorted(sites, key=lambda site: site != ALL_SITES)


def _models(strata: Sequence[SiteStrata]) -> list[str]:
    return list(dict.fromkeys(found.model for found in strata))
