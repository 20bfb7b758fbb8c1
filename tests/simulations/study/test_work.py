"""The order in which the trainings of a study are done; what one does is not of interest here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echofm_core.data.findings import Findings
from echofm_core.data.prepare import Prepared
from echofm_core.live.record import live_run
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.errors import DivergedError, EngineError, FederationError
from echofm_core.runtime.sessions import Sessions
from simulations.arm_training import Training
from simulations.study import work
from simulations.study.cells import Cell, cell_of, settings
from simulations.study.folder import RESULT
from simulations.study.work import DIVERGED, Job, do_all, jobs_of
from tests.simulations.test_arms import manifest


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


@pytest.mark.parametrize(
    ("trial", "codes"),
    [
        (False, DIVERGES),
        (True, {**DIVERGES, "C": EngineError.exit_code}),
        (True, {**DIVERGES, "C": None}),  # away, say
        (True, {}),
    ],
)
def test_anything_else_that_fails_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trial: bool, codes: dict[str, int | None]
) -> None:
    """The method's own training, and what is no fault of a setting."""
    monkeypatch.setattr(Training, "fit", failing(codes))
    job = one_job(tmp_path, trial=trial)
    with live_run(tmp_path, {}) as live, pytest.raises(FederationError, match="0 usable"):
        do_all([job], live, Sessions(tmp_path), lambda cell: None)
    assert not (job.place / DIVERGED).exists()
