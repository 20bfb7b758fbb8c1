"""The table of a study: over which sites each number is. Values by hand."""

from __future__ import annotations

import pandas as pd

from echofm_core.evaluation.config import EvaluationConfig
from echofm_core.evaluation.over_seeds import OVER_SEEDS
from echofm_core.evaluation.reported import reported_metrics
from echofm_core.report.study_table import METHOD_COLUMNS, StudyScores, grids

METHODS = pd.DataFrame(
    [("fedavg", "federated", "", "", 1.0, 1, 1), ("local", "local", "", "", 0.0, 1, 1)],
    columns=list(METHOD_COLUMNS),
)


def shown(
    *rows: tuple[str, str, float, int], unseen: tuple[str, ...] = ()
) -> dict[str, dict[str, str]]:
    """Method -> column -> cell, of rows of model, site, EF MAE and test patients."""
    scores = pd.DataFrame(
        [
            (site, "ef", "mae", value, value - 1, value + 1, patients, 0.25, 2, model)
            for model, site, value, patients in rows
        ],
        columns=[*OVER_SEEDS, "model"],
    )
    study = StudyScores(
        scores=scores,
        seeds=pd.concat([scores.assign(seed=seed) for seed in (0, 1)]),
        methods=METHODS,
        config=EvaluationConfig(),
        unseen=unseen,
    )
    (grid,) = grids(study.table(), reported_metrics(scores)).values()
    return {row[0]: dict(zip(grid.columns, row, strict=True)) for row in grid.rows}


def test_a_method_that_was_tested_at_fewer_sites_says_at_how_many() -> None:
    """FedAvg at A, B and C: mean 6; local has no model at C, where FedAvg is worst."""
    found = shown(
        ("federated", "A", 4.0, 30), ("federated", "B", 5.0, 30), ("federated", "C", 9.0, 30),
        ("local", "A", 4.0, 30), ("local", "B", 6.0, 30),
    )  # fmt: skip
    assert found["fedavg"]["mean over sites"] == "6.0"
    assert found["fedavg"]["gap between sites"] == "5.0"
    assert found["local"]["mean over sites"] == "5.0 (of 2 sites)"
    assert found["local"]["gap between sites"] == "2.0 (of 2 sites)"


def test_a_method_that_was_tested_at_one_of_two_sites_has_no_gap() -> None:
    found = shown(("federated", "A", 4.0, 30), ("federated", "B", 5.0, 30), ("local", "A", 4.0, 30))
    assert found["local"]["mean over sites"] == "4.0 (of 1 site)"
    assert found["local"]["gap between sites"] == ""


def test_one_site_has_no_gap() -> None:
    found = shown(("federated", "A", 4.0, 30), ("local", "A", 5.0, 30))
    assert found["fedavg"]["worst site"] == "4.0 (A)"
    assert found["fedavg"]["gap between sites"] == ""


def test_a_site_never_seen_with_too_few_patients_is_not_judged() -> None:
    """Nine patients, of ten that are wanted."""
    rows = [("federated", "A", 4.0, 30), ("federated", "Z", 6.0, 9)]
    assert shown(*rows, unseen=("Z",))["fedavg"]["never seen"] == "6.0 (n 9, too few to judge)"
    rows[1] = ("federated", "Z", 6.0, 10)
    assert shown(*rows, unseen=("Z",))["fedavg"]["never seen"] == "6.0 [5.0, 7.0]"
