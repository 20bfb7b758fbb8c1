"""Error of EF by stratum of the reference: a small mean error can hide two large ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echofm_core.evaluation.ranking import Floats
from echofm_core.evaluation.score import Cases

#: Strata of the reference EF in percent: title, from, to; 35 and 50 belong to the stratum that
#: begins there, 65 to the one that ends there.
STRATA = ("EF < 35", "EF 35-50", "EF 50-65", "EF > 65")


@dataclass(frozen=True, kw_only=True, slots=True)
class StratumError:
    """Errors of the studies of one stratum.

    Attributes:
        title: One of :data:`STRATA`.
        bias: Mean of prediction minus reference, points; NaN without studies.
        mae: Mean absolute error, points; likewise.
        patients: Distinct patients.
    """

    title: str
    bias: float
    mae: float
    patients: int


def stratum_of(reference: Floats) -> NDArray[np.int64]:
    """Index into :data:`STRATA` of each EF, shape (N,)."""
    edges = (reference >= 35).astype(np.int64) + (reference >= 50) + (reference > 65)
    return np.asarray(edges, dtype=np.int64)


def strata_errors(cases: Cases) -> list[StratumError]:
    """Errors by stratum, one entry each, empty ones included.

    Args:
        cases: Of the task ``ef``.
    """
    stratum, error = stratum_of(cases.truth), cases.prediction - cases.truth
    found = []
    for index, title in enumerate(STRATA):
        here = stratum == index
        patients = len(np.unique(cases.patients[here]))
        bias, mae = (
            (float(error[here].mean()), float(np.abs(error[here]).mean()))
            if patients
            else (float("nan"), float("nan"))
        )
        found.append(StratumError(title=title, bias=bias, mae=mae, patients=patients))
    return found
