"""The order in which the trainings of a study are done; what one does is not of interest here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.live.record import live_run
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import DivergedError, EngineError, FederationError
from echofm_core.runtime.sessions import Sessions
from simulations.arm_training import Training
from simulations.arms import Arm
from simulations.study import work
from simulations.study.cells import Cell, cell_of, settings
from simulations.study.folder import DIVERGED, RESULT
from simulations.study.work import Job, do_all, jobs_of
from tests.simulations.test_arms import manifest


def part(folder: Path, methods: Sequence[str]) -> Cell:
    """Pre-training and fine-tuning, of one seed."""
    plan = plan_from_mapping({"pretrain": {"rounds": 2}}, "test")
    prepared = Prepared(manifest=manifest(), findings=Findings(), stores=Path("stores"))
    return cell_of(plan, folder / "seed-0", prepared, methods)


def varied(folder: Path) -> list[Cell]:
    """Two values of what pre-training does not read, on two workers."""
    plan = plan_from_mapping(
        {
            "pretrain": {"rounds": 2},
            "study": {"vary": {"finetune.label_fraction": [0.5, 1]}},
            "machine": {"workers": 2},
        },
        "test",
    )
    prepared = Prepared(manifest=manifest(), findings=Findings(), stores=Path("stores"))
    return [
        replace(
            cell_of(here, folder / variation.folder / "seed-0", prepared, ["fedavg"], common),
            variation=variation,
            store=folder / "seed-0",
        )
        for common, here, variation in settings(plan)
    ]


def test_what_two_variations_need_is_done_once_and_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, concluded = list[str](), list[str]()

    def finish(job: Job, *_: object) -> None:
        assert all((need / RESULT).exists() for need in job.needs)
        job.place.mkdir(parents=True)  # it is there: another does the same
        done.append(job.name)
        (job.place / RESULT).touch()

    monkeypatch.setattr(work, "_do", finish)
    cells = varied(tmp_path)
    jobs = [job for cell in cells for job in jobs_of(cell)]
    with live_run(tmp_path, {}) as live:
        do_all(jobs, live, Sessions(tmp_path), lambda cell: concluded.append(cell.variation.folder))
    assert sorted(done) == [
        "label_fraction-0.5/seed-0/fedavg",
        "label_fraction-0.5/seed-0/pretraining:federated",
        "label_fraction-1/seed-0/fedavg",
    ]
    assert sorted(concluded) == ["label_fraction-0.5", "label_fraction-1"]


DIVERGES = {"A": DivergedError.exit_code, "B": DivergedError.exit_code}


def failing(codes: dict[str, int | None]) -> Callable[..., None]:
    """Training that ends its first round without an update; sites with the codes of their errors.

    What they say has the words of the others' errors.
    """
    why = dict.fromkeys(codes, "EngineError: a loss that is not finite, non-finite")

    def fit(*_: object) -> None:
        known = {site: code for site, code in codes.items() if code}
        raise FederationError("finetune round 1 has 0 usable updates", why, known)

    return fit


def one_job(folder: Path, *, trial: bool) -> Job:
    """Fine-tuning whose encoder is there."""
    (cell, _) = varied(folder)
    job = jobs_of(cell)[-1]
    bare = replace(job.piece, start=None)
    return Job(cell, bare, bare.key(cell.data), trial)


def test_a_setting_that_diverges_ends_no_study_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its states go."""
    monkeypatch.setattr(Training, "fit", failing(DIVERGES))
    job = one_job(tmp_path, trial=True)
    (job.place / "sites/A").mkdir(parents=True)
    with live_run(tmp_path, {}) as live:
        do_all([job], live, Sessions(tmp_path), lambda cell: None)
        assert "0 usable updates" in (job.place / DIVERGED).read_text()
        assert not (job.place / "sites").exists()
        monkeypatch.setattr(Training, "fit", None)
        do_all([job], live, Sessions(tmp_path), lambda cell: None)


def test_what_begins_with_a_training_that_diverged_is_left_out_and_the_rest_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pre-training of FedAvg diverges; that of A alone does not. A watcher awaits nothing."""
    done, concluded = list[str](), list[Cell]()

    def fit(training: Training, arm: Arm, plan: Plan, place: Path, *_: object) -> None:
        if arm.name == "pretraining:federated":
            failing(DIVERGES)()
        done.append(arm.name)

    monkeypatch.setattr(Training, "fit", fit)
    monkeypatch.setattr(work, "load_weights", lambda start: {})
    for name in ("predictions_of", "validation_of"):
        monkeypatch.setattr(work, name, lambda *_: pd.DataFrame())
    monkeypatch.setattr(work, "_result", lambda *_: {})
    cell = part(tmp_path, ["fedavg", "local"])
    with live_run(tmp_path, {}) as live:
        do_all(jobs_of(cell), live, Sessions(tmp_path), concluded.append)
        with live.change() as record:
            assert not {name for name in record.models if "fedavg" in name or "federated" in name}
    alone = [f"local:{site}" for site in "ABC"]
    assert sorted(done) == [*alone, *(f"pretraining:{name}" for name in alone)]
    assert concluded == [cell]
    said = " ".join(capsys.readouterr().out.split())
    assert "pretraining:federated: does not train, and is left out: finetune" in said


@pytest.mark.parametrize("trial", [False, True])
@pytest.mark.parametrize(
    "codes",
    [
        {**DIVERGES, "C": EngineError.exit_code},
        {**DIVERGES, "C": None},  # away, say
        {},
    ],
)
def test_anything_else_that_fails_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trial: bool, codes: dict[str, int | None]
) -> None:
    """What is no fault of a method or a setting."""
    monkeypatch.setattr(Training, "fit", failing(codes))
    job = one_job(tmp_path, trial=trial)
    with live_run(tmp_path, {}) as live, pytest.raises(FederationError, match="0 usable"):
        do_all([job], live, Sessions(tmp_path), lambda cell: None)
    assert not (job.place / DIVERGED).exists()
