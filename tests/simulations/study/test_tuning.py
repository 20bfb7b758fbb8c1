"""By whom a study chooses between settings, and where the choice goes; predictions are planted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.live.record import live_run
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import DivergedError, PlanError, ResumeError
from echofm_core.runtime.sessions import Sessions
from echofm_core.tasks import Task
from simulations.study import diverged, tuning
from simulations.study.cells import Cell, cell_of
from simulations.study.folder import DIVERGED, RESULT
from simulations.study.tuning import best_of, check_kept, choose, trials_of, tune, validation_score
from simulations.study.work import PREDICTIONS, VALIDATION, Job
from tests.evaluation.made import prediction_rows
from tests.simulations.test_arms import manifest

#: Job -> how far its predictions are off at validation patients, in points of EF.
Errors = Callable[[Job], float]


def judged() -> pd.DataFrame:
    """The sites of ``manifest``, with a validation patient each."""
    rows = manifest()
    held = rows[rows["split"] == "train"].assign(split="val")
    held = held.assign(patient_id=held["patient_id"] + "v", clip_id=held["clip_id"] + "v")
    return pd.concat([rows, held], ignore_index=True)


def parts(folder: Path, methods: Sequence[str], seeds: int = 1, **tables: object) -> list[Cell]:
    """A study with two settings of each method."""
    words = {"pretrain": {"rounds": 2}, "study": {"tune": 2}, **tables}
    plan = plan_from_mapping(words, "test")
    prepared = Prepared(manifest=judged(), findings=Findings(), stores=Path("stores"))
    return [
        cell_of(plan.model_copy(update={"seed": seed}), folder / f"seed-{seed}", prepared, methods)
        for seed in range(seeds)
    ]


def off_by(error: float, patients: int = 8) -> pd.DataFrame:
    """Predictions of so many patients, each of them off by so much, up or down in turn."""
    rows = prediction_rows({"A": patients}, (Task.EF,))
    signs = np.where(np.arange(len(rows)) % 2, 1.0, -1.0)
    return rows.assign(prediction=rows["truth"] + error * signs)


def plant(jobs: Sequence[Job], validation: Errors, test: Errors) -> None:
    """Finish every training with made-up predictions."""
    for job in jobs:
        job.place.mkdir(parents=True, exist_ok=True)
        off_by(validation(job)).to_parquet(job.place / VALIDATION)
        off_by(test(job)).to_parquet(job.place / PREDICTIONS)


def chosen(table: pd.DataFrame) -> dict[str, str]:
    """Training -> its setting."""
    return table[table["chosen"]].set_index("training")["setting"].to_dict()


def test_validation_patients_choose_and_test_patients_do_not(tmp_path: Path) -> None:
    """The plan's own is worse on validation, by 9 points against 3, and better on test."""
    (cell,) = parts(tmp_path, ["fedprox"])
    trials = trials_of(cell)
    plant(trials.jobs(), lambda job: 3 if job.setting else 9, lambda job: 9 if job.setting else 3)
    table, choices = choose(trials)
    assert chosen(table) == {"fedprox": "federation.proximal_mu = 0.1"}
    assert choices == {"fedprox": {"fedprox": {"federation.proximal_mu": 0.1}}}
    assert list(table["setting"]) == ["federation.proximal_mu = 0.01", *chosen(table).values()]
    assert list(table["patients"]) == [8, 8]
    truth = off_by(0)["truth"]
    expected = [1 - error**2 / truth.var(ddof=0) for error in (9, 3)]
    assert list(table["score"]) == pytest.approx(expected)


def test_of_equal_settings_the_earlier_is_chosen(tmp_path: Path) -> None:
    (cell,) = parts(tmp_path, ["fedavg"], study={"tune": 4})
    trials = trials_of(cell)
    plant(trials.jobs(), lambda job: 5, lambda job: 5)
    assert not choose(trials)[1]["fedavg"]["fedavg"]
    assert best_of([0.1, 0.3, 0.3, 0.2]) == 1
    assert best_of([math.nan, -2.0, -math.inf]) == 1
    assert best_of([math.nan, math.nan]) == 0


def test_a_setting_that_diverged_is_not_chosen(tmp_path: Path) -> None:
    """Though it is the plan's own; one whose predictions are no numbers is not either."""
    (cell,) = parts(tmp_path, ["fedavg"], study={"tune": 3})
    trials = trials_of(cell)
    planned, second, third = [job for job in trials.jobs() if job.trial]
    planned.place.mkdir(parents=True)
    (planned.place / DIVERGED).touch()
    plant([second, third], lambda job: math.inf if job is second else 30, lambda job: 1)
    table, _ = choose(trials)
    assert list(table["score"])[:2] == [-math.inf, -math.inf]
    assert list(table["chosen"]) == [False, False, True]


def diverge(jobs: Sequence[Job]) -> None:
    """Mark trainings as diverged."""
    for job in jobs:
        job.place.mkdir(parents=True)
        (job.place / DIVERGED).touch()


def test_a_method_that_no_setting_trains_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    """FedAvg's learning rates diverge, and those of B alone; FedProx is then the reference."""
    (cell,) = parts(tmp_path, ["fedavg", "local", "fedprox"])
    trials = trials_of(cell)
    lost = [
        job for job in trials.jobs() if job.trial and job.piece.arm.name in ("fedavg", "local:B")
    ]
    assert len(lost) == 4
    diverge(lost)
    plant([job for job in trials.jobs() if job not in lost], lambda job: 5, lambda job: 5)
    table, choices = choose(trials)
    assert set(table.loc[table["training"].isin(["fedavg", "local:B"]), "score"]) == {-math.inf}
    assert "fedavg" not in chosen(table) and "local:B" not in chosen(table)
    assert diverged.chosen(cell, {}).reference == "fedavg"
    after = diverged.chosen(cell, choices)
    assert [method.name for method, _ in after.methods] == ["fedprox"] == [after.reference]
    words = "diverged with each of the 2 settings that were tried."
    assert after.notes[-2:] == (
        f"The method fedavg is left out: training {words}",
        f"The method local is left out: training of local:B {words}",
    )


def test_a_study_of_which_nothing_trains_ends_with_a_sentence(tmp_path: Path) -> None:
    (cell,) = parts(tmp_path, ["fedavg"])
    trials = trials_of(cell)
    diverge([job for job in trials.jobs() if job.trial])
    with pytest.raises(DivergedError, match="diverged with all settings of all methods"):
        diverged.chosen(cell, choose(trials)[1])


def test_settings_that_were_not_judged_by_all_patients_are_not_chosen(tmp_path: Path) -> None:
    """A site that a setting could not be tested at may be the hard one: 9 points off and all 8
    patients come before 1 point off and 4 of them, whichever is the plan's own."""
    (cell,) = parts(tmp_path, ["fedavg"])
    trials = trials_of(cell)
    for short in (False, True):
        plant(trials.jobs(), lambda job: 9, lambda job: 5)
        (job,) = [job for job in trials.jobs() if job.trial and bool(job.setting) is short]
        off_by(1).iloc[:4].to_parquet(job.place / VALIDATION)
        table, _ = choose(trials)
        assert list(table["chosen"]) == [short, not short]
        assert list(table["patients"]) == ([8, 4] if short else [4, 8])
        assert math.isnan(table["score"][int(short)])


def test_each_training_is_judged_by_itself(tmp_path: Path) -> None:
    """Without A the second setting is better, without B the plan's; and each site alone, and its
    part in the ensemble, by its own patients."""
    (cell,) = parts(tmp_path, ["leave_one_out", "local", "ensemble"])
    trials = trials_of(cell)
    better = {"without:A": True, "without:B": False, "local:A": False, "local:B": True}

    def error(job: Job) -> float:
        return 3 if bool(job.setting) == better.get(job.piece.arm.name, False) else 9

    plant(trials.jobs(), error, lambda job: 5)
    _, choices = choose(trials)
    for method in ("leave_one_out", "local"):
        for arm, values in choices[method].items():
            assert bool(values) == better.get(arm, False), arm
    assert choices["ensemble"] == choices["local"]


def test_tasks_that_a_training_did_not_learn_do_not_judge_it(tmp_path: Path) -> None:
    """A has no grades: what its model says of them is drawn."""
    (cell,) = parts(tmp_path, ["local"])
    trials = trials_of(cell)
    plant(trials.jobs(), lambda job: 3 if job.setting else 9, lambda job: 5)
    for job in trials.jobs():
        grades = prediction_rows({"A": 8}, (Task.AS_GRADE,), noise=20 if job.setting else 0)
        rows = pd.concat([off_by(3 if job.setting else 9), grades], ignore_index=True)
        rows.to_parquet(job.place / VALIDATION)
    table, _ = choose(trials)
    assert chosen(table)["local:A"] != chosen(table)["local:C"]
    assert list(table["score"])[1] == pytest.approx(
        validation_score(off_by(3), cell.plan.finetune.reduced_ef_threshold)
    )


def tuned(
    folder: Path, cells: Sequence[Cell], monkeypatch: pytest.MonkeyPatch, done: list[Job]
) -> list[Cell]:
    """After tuning, where settings other than the plan's are better."""

    def finish(jobs: Sequence[Job], *_: object) -> None:
        done.extend(jobs)
        plant(jobs, lambda job: 3 if job.setting else 9, lambda job: 5)

    monkeypatch.setattr(tuning, "do_all", finish)
    with live_run(folder, {}) as live:
        return tune(cells, live, Sessions(folder))


def test_what_is_chosen_is_trained_with_every_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the encoder stays the plan's."""
    before = parts(tmp_path, ["fedprox", "local"], seeds=3)
    after = tuned(tmp_path, before, monkeypatch, [])
    assert [cell.plan.seed for cell in after] == [0, 1, 2]
    for old, new in zip(before, after, strict=True):
        (fedprox,), local = (pieces for _, pieces in new.methods)
        assert fedprox.plan.federation.proximal_mu == 0.1
        rates = {piece.arm.name: piece.plan.finetune.learning_rate for piece in local}
        assert rates == {"local:A": 0.00017, "local:B": 0.00017, "local:C": 0.0005}, "C has no EF"
        assert {piece.plan.seed for piece in (fedprox, *local)} == {new.plan.seed}
        starts = [
            [piece.start.key("") for _, pieces in cell.methods for piece in pieces if piece.start]
            for cell in (old, new)
        ]
        assert starts[0] == starts[1]
        assert any("federation.proximal_mu = 0.1, chosen of 2 settings" in n for n in new.notes)


def test_only_the_first_seed_is_tuned_and_no_training_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two encoders and two settings: the plan's own is the study's first training, and the chosen
    one is found done. The ensemble needs nothing of its own."""
    before = parts(tmp_path, ["fedprox", "local", "ensemble"], seeds=2)
    done = list[Job]()
    first, _ = tuned(tmp_path, before, monkeypatch, done)
    assert {job.cell.plan.seed for job in done} == {0}
    keys = [job.key for job in done]
    assert len(keys) == len(set(keys)) == (1 + 3) + 2 * (1 + 3)
    assert {*before[0].pieces(), *first.pieces()} <= set(keys)
    places = {before[0].place(piece) for piece in before[0].pieces().values()}
    assert places <= {job.place for job in done}
    order = [job.place for job in done]
    for job in done:
        assert all(order.index(need) < order.index(job.place) for need in job.needs)


def test_a_model_on_a_few_patients_is_the_chosen_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = {"protocol": {"unseen": ["B"]}, "evaluation": {"few_shot": [0, 1]}}
    (after,) = tuned(tmp_path, parts(tmp_path, ["fedavg"], **unseen), monkeypatch, [])
    ((_, (fedavg,)),) = after.methods
    assert fedavg.plan.finetune.learning_rate == 0.00017
    as_it_is, one = after.shots
    assert as_it_is.piece == one.piece.start == fedavg


def test_parts_are_tuned_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variation in which the plan's own is best keeps it; each has a table of its own."""
    cells = parts(tmp_path / "one", ["fedavg"]) + parts(tmp_path / "two", ["fedavg"])

    def finish(jobs: Sequence[Job], *_: object) -> None:
        plant(
            jobs,
            lambda job: 3 if bool(job.setting) == ("one" in job.place.parts) else 9,
            lambda job: 5,
        )

    monkeypatch.setattr(tuning, "do_all", finish)
    with live_run(tmp_path, {}) as live:
        one, two = tune(cells, live, Sessions(tmp_path))
    assert one.methods[0][1][0].plan.finetune.learning_rate == 0.00017
    assert two.pieces().keys() == cells[1].pieces().keys()
    for place, plans in (("one", False), ("two", True)):
        table = pd.read_parquet(tmp_path / place / "tuning.parquet")
        assert list(table["chosen"]) == [plans, not plans]


def test_without_validation_patients_there_is_no_choice(tmp_path: Path) -> None:
    """Those of a site that is never seen are none to choose by, nor those of a site without test
    labels, which is asked for nothing."""
    (cell,) = parts(tmp_path, ["fedavg"])
    rows = judged()
    for kept in (
        rows[rows["split"] != "val"],
        rows[rows["split"] != "test"],
        rows[(rows["split"] != "val") | rows["site"].eq("B")],
    ):
        plan = plan_from_mapping({"study": {"tune": 2}, "protocol": {"unseen": ["B"]}}, "test")
        prepared = replace(cell.prepared, manifest=kept)
        with pytest.raises(
            PlanError, match="no site that trains, and has test labels, has a validation"
        ):
            trials_of(replace(cell, plan=plan, prepared=prepared))
    trials_of(cell)


def test_a_training_of_an_earlier_version_is_refused_before_others_train(tmp_path: Path) -> None:
    """It keeps nothing to choose it by; where it was pre-trained, nothing is missed."""
    study = parts(tmp_path, ["fedavg"])
    *_, last = jobs = trials_of(study[0]).jobs()
    plant([last], lambda job: 5, lambda job: 5)
    (last.place / RESULT).write_text("{}")
    check_kept(jobs)
    (last.place / VALIDATION).unlink()
    with live_run(tmp_path, {}) as live, pytest.raises(ResumeError, match="remove that folder"):
        tune(study, live, Sessions(tmp_path))
    assert not [job for job in jobs if job is not last and job.place.exists()]


def test_the_score_by_hand() -> None:
    """EF 40, 50 and 60, each off by 5: R2 1 - 25 / (200 / 3) = 0.625; of four pairs of a yes and a
    no three in order: AUC 0.75; their mean is 0.6875. One class alone has no AUC."""
    ef = prediction_rows({"A": 3}, (Task.EF,)).assign(truth=[40.0, 50.0, 60.0])
    ef["prediction"] = [45.0, 45.0, 65.0]
    reduced = prediction_rows({"B": 4}, (Task.REDUCED_EF,)).assign(truth=[0.0, 0.0, 1.0, 1.0])
    reduced["prediction"] = [0.1, 0.6, 0.5, 0.9]
    assert validation_score(ef, 50.0) == pytest.approx(0.625)
    assert validation_score(pd.concat([ef, reduced]), 50.0) == pytest.approx(0.6875)
    alone = reduced[reduced["truth"] == 0]
    assert validation_score(pd.concat([ef, alone]), 50.0) == pytest.approx(0.625)
    assert math.isnan(validation_score(alone, 50.0))
    ef.loc[0, "prediction"] = np.nan
    assert validation_score(pd.concat([ef, reduced]), 50.0) == -math.inf
