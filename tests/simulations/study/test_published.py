"""Names in `[[study.published]]` that no table can have; nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.manifest import manifest_from_rows
from echofm_core.evaluation.metrics import metric_names, task_metrics
from echofm_core.plan.document import Plan
from echofm_core.plan.load import load_plan, plan_from_mapping
from echofm_core.runtime.errors import PlanError
from echofm_core.tasks import Task
from simulations.study.dry_run import dry_run
from simulations.study.published import check_published
from simulations.study.published_sites import check_published_sites
from simulations.study.run import run_study
from tests.simulations.study.test_estimate import people
from tests.simulations.test_examples import PAPER, few, on_few

__all__ = ["few"]  # a fixture


def naming(
    *items: Mapping[str, str],
    tasks: tuple[str, ...] = ("ef",),
    vary: Mapping[str, object] | None = None,
    unseen: tuple[str, ...] = (),
) -> Plan:
    """A plan whose study names these published numbers."""
    published = [{"what": "a number", "task": "ef", "metric": "mae", **item} for item in items]
    study = {"methods": ["fedavg"], "published": published, "vary": vary or {}}
    words = {"finetune": {"tasks": tasks}, "protocol": {"unseen": unseen}, "study": study}
    return plan_from_mapping(words, "test")


def manifest() -> pd.DataFrame:
    """EF is tested at A, B and Z; C has grades alone, and D no test patient."""
    rows = [row for site in "ABZ" for row in people(site, "test", 5, ef=50.0)]
    rows += [*people("C", "test", 5, as_grade=1), *people("D", "train", 5, ef=50.0)]
    return manifest_from_rows(rows)


def test_a_metric_that_the_task_does_not_have() -> None:
    """The seven of EF; accuracy belongs to classes."""
    with pytest.raises(PlanError) as refused:
        check_published(naming({}, {"metric": "r_2", "what": "EF R2"}))
    assert str(refused.value) == (
        "table 2 of [[study.published]] (EF R2): `metric`: there is no metric of ef 'r_2', did you "
        "mean 'r2'; there are mae, rmse, r2, pearson, bias, calibration_slope, reduced_auc."
    )
    with pytest.raises(PlanError, match="no metric of ef 'accuracy'"):
        check_published(naming({"metric": "accuracy"}))


def test_a_task_that_no_variation_trains() -> None:
    edv = {"task": "edv"}
    with pytest.raises(PlanError, match=r"no task trained by this study 'edv'.*; there are ef\."):
        check_published(naming(edv))
    check_published(naming(edv, vary={"finetune.tasks": [["ef"], ["edv"]]}))


@pytest.mark.parametrize("site", ["C", "D", "a", "pooled"])
def test_a_site_without_test_labels_of_the_task(site: str) -> None:
    plan = naming({"site": site})
    with pytest.raises(PlanError, match=r"`site`: .* there are A, B, Z, all\."):
        check_published_sites(plan, [(plan, manifest())])


@pytest.mark.parametrize(
    ("unseen", "legal"),
    [
        ((), ["A", "B", "Z", "all"]),
        (("Z",), ["A", "B", "all", "Z"]),
        (("B", "Z"), ["A", "B", "Z", "never seen"]),
    ],
)
def test_sets_of_several_sites_are_those_that_are_scored(
    unseen: tuple[str, ...], legal: list[str]
) -> None:
    """One site of a kind is no set of several where there are sites never seen."""
    for site in legal:
        plan = naming({"site": site}, unseen=unseen)
        check_published_sites(plan, [(plan, manifest())])
    for site in {"all", "never seen"} - set(legal):
        plan = naming({"site": site}, unseen=unseen)
        with pytest.raises(PlanError, match=f"test patients for ef '{site}'"):
            check_published_sites(plan, [(plan, manifest())])


def test_a_site_of_any_protocol_will_do() -> None:
    plan, other = naming({"site": "Q"}), manifest_from_rows(people("Q", "test", 5, ef=50.0))
    check_published_sites(plan, [(plan, manifest()), (plan, other)])


@pytest.mark.parametrize("task", list(Task))
def test_names_of_metrics_are_those_that_are_scored(task: Task) -> None:
    """Against scores of two cases of the first two classes, or of values."""
    outputs = {Task.AS_GRADE: 5, Task.AS_CLASS: 3, Task.VIEW: 5}.get(task)
    prediction = np.eye(outputs)[:2] if outputs else np.array([0.2, 0.8])
    found = task_metrics(task, np.array([0.0, 1.0]), prediction, np.ones((1, 2)), 0.5)
    assert metric_names(task) == tuple(found)


@pytest.mark.parametrize("begin", [dry_run, run_study])
def test_a_study_is_refused_before_data_are_read(
    begin: Callable[[Plan, Path], object], tmp_path: Path
) -> None:
    """The plan names no data, which would be the next complaint."""
    with pytest.raises(PlanError, match="no metric of ef 'maee'"):
        begin(naming({"metric": "maee"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("begin", [dry_run, run_study])
def test_a_study_is_refused_before_anything_trains(
    begin: Callable[[Plan, Path], object], tmp_path: Path, few: Path
) -> None:
    """The example for data efficiency, with ten patients and a site that is not there."""
    (path,) = (one for one in PAPER if one.stem == "data-efficiency")
    plan = on_few(load_plan(path), few)
    elsewhere = plan.study.published[0].model_copy(update={"site": "echonet"})
    study = plan.study.model_copy(update={"published": (elsewhere,)})
    with pytest.raises(PlanError) as refused:
        begin(plan.model_copy(update={"study": study}), tmp_path / "run")
    assert str(refused.value) == (
        "table 1 of [[study.published]] (EF MAE, points, of all labels): `site`: there is no site "
        "with test patients for ef 'echonet', did you mean 'echonet_dynamic'; there are "
        "echonet_dynamic, all."
    )
    assert not list(tmp_path.glob("run/**/arms"))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_the_examples_name_what_there_is(path: Path) -> None:
    check_published(load_plan(path))
