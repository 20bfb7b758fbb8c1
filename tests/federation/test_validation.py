"""The global model on the sites' validation patients: real sites, with losses written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from client import training
from echofm_core.contract import group_of
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import PlanError
from server.ending import FederationResult
from server.events import Event, EventKind
from server.rounds import pretrained_encoder, run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import small_plan, validating, with_states

#: alpha and beta validate on a patient each; what they find of rounds 1, 2, ...
Script = dict[str, list[float]]


@pytest.fixture(scope="module")
def sites(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> list[SiteSettings]:
    """alpha and beta, their last training patient held out."""
    return validating(built_sites[:2], tmp_path_factory.mktemp("validating"))


def plan_of(rounds: int, **federation: Any) -> Plan:
    return small_plan(
        pretrain={"rounds": 0},
        finetune={"rounds": rounds, "tasks": ["ef"]},
        federation={"trunk_weights": "equal", **federation},
    )


def federate(
    sites: list[SiteSettings],
    plan: Plan,
    folder: Path,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    workers: int = 1,
) -> FederationResult:
    with Engine(workers) as engine:
        grid = engine.grid(with_states(sites, folder / "state"))
        resume = (folder / "run/journal").exists()
        return run_federation(grid, plan, folder / "run", resume=resume, on_event=on_event)


def entries(folder: Path, phase: str = "finetune") -> list[dict[str, Any]]:
    paths = sorted((folder / "run/journal").glob(f"{phase}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """What each site finds, in the order that it is asked; the true loss is computed too."""
    losses: Script = {}
    true, asked = training.validation_loss, {"alpha": count(), "beta": count()}

    def written(*args: Any, site: str, **more: Any) -> float | None:
        assert true(*args, site=site, **more) is not None
        return losses[site][next(asked[site])]

    monkeypatch.setattr(training, "validation_loss", written)
    yield losses


def test_it_draws_nothing_that_training_draws(sites: list[SiteSettings], tmp_path: Path) -> None:
    """Weights are the same to the bit, whether sites validate or not; without, no number leaves."""
    tables: dict[str, Any] = {"pretrain": {"rounds": 2, "augment": True}}
    told = small_plan(**tables)
    silent = small_plan(**tables, federation={"report_validation": False})
    first = federate(sites, told, tmp_path / "told")
    assert first.digest == federate(sites, silent, tmp_path / "silent").digest
    for phase in ("pretrain", "finetune"):
        found = entries(tmp_path / "told", phase)
        assert [set(entry["validation"]) for entry in found] == [{"alpha", "beta"}] * 2
        assert not any(entry["validation"] for entry in entries(tmp_path / "silent", phase))
    text = json.dumps(entries(tmp_path / "silent"))
    assert '"validation": {}' in text and text.count("validation") == 2
    table = first.metrics[first.metrics["metric"] == "validation"]
    assert len(table) == 8 and (table["value"] > 0).all()


def test_every_round_is_validated_however_many_workers_there_are(
    sites: list[SiteSettings], tmp_path: Path
) -> None:
    """The answer about a phase's last round holds no array, which must not get lost on the way."""
    plan = small_plan(federation={"select": "best"})
    one, two = (federate(sites, plan, tmp_path / str(count), workers=count) for count in (1, 2))
    for phase in ("pretrain", "finetune"):
        found = entries(tmp_path / "2", phase)
        assert [set(entry["validation"]) for entry in found] == [{"alpha", "beta"}] * 2
        alone = entries(tmp_path / "1", phase)
        assert [entry["validation"] for entry in found] == [e["validation"] for e in alone]
    assert one.digest == two.digest


def test_the_best_round_is_shipped_and_the_last_by_default(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    """Means 3, 2, 2, NaN, 2.5: the second of five, kept though two newer ones are."""
    script |= {"alpha": [3.0, 1.0, 3.0, math.nan, 2.0], "beta": [3.0, 3.0, 1.0, 0.1, 3.0]}
    result = federate(sites, plan_of(5, select="best"), tmp_path)
    found = entries(tmp_path)
    assert [entry["validation"]["beta"] for entry in found] == script["beta"]
    assert found[3]["validation"]["alpha"] is None
    assert result.digest == found[1]["digest"]
    assert result.digest == digest(load(tmp_path / "run/model/model.safetensors"))
    kept = sorted(path.stem[-1] for path in (tmp_path / "run/checkpoints").iterdir())
    assert kept == ["2", "4", "5"]
    assert "Of the 5 rounds of finetune, round 2 is kept" in result.notes[0]


def test_the_last_round_is_shipped_by_default(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    script |= {"alpha": [1.0, 2.0], "beta": [1.0, 2.0]}
    result = federate(sites, plan_of(2), tmp_path)
    assert result.digest == entries(tmp_path)[1]["digest"] and not result.notes


def test_fine_tuning_begins_with_the_best_round_of_pre_training(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    script |= {"alpha": [1.0, 2.0, 3.0], "beta": [1.0, 2.0, 3.0]}
    plan = small_plan(pretrain={"rounds": 3}, finetune={"rounds": 0}, federation={"select": "best"})
    result = federate(sites, plan, tmp_path)
    first = entries(tmp_path, "pretrain")[0]["digest"]
    assert result.digest == first == digest(pretrained_encoder(tmp_path / "run", plan))


def test_the_best_encoder_of_pre_training_is_what_fine_tuning_begins_with(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    """Round 1 of pre-training is the best; heads alone train on it, so that it is shipped."""
    script |= {"alpha": [1.0, 2.0, 1.0], "beta": [1.0, 2.0, 1.0]}
    plan = small_plan(
        pretrain={"rounds": 2},
        finetune={"rounds": 1, "tasks": ["ef"], "mode": "linear"},
        federation={"select": "best"},
    )
    weights = federate(sites, plan, tmp_path).weights
    encoder = {name: array for name, array in weights.items() if group_of(name) == "encoder"}
    assert digest(encoder) == entries(tmp_path, "pretrain")[0]["digest"]


def test_why_a_site_has_no_loss_of_the_last_round_is_said(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    """beta finds a loss of round 1, and fails when it is asked for that of round 2."""
    script |= {"alpha": [2.0, 1.0], "beta": [2.0]}
    events: list[Event] = []
    federate(sites, plan_of(2), tmp_path, on_event=events.append)
    assert [set(entry["validation"]) for entry in entries(tmp_path)] == [
        {"alpha", "beta"}, {"alpha"},
    ]  # fmt: skip
    (last,) = [event for event in events if event.kind is EventKind.VALIDATED]
    first, second = last.line().splitlines()
    assert first == "finetune round 2/2: validation loss 1.0000 at alpha"
    assert second.startswith("  beta did not count: the site answered with an error: ")
    assert "IndexError" in second


def test_patience_ends_a_federation(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    """Round 1 is the best; that rounds 2 and 3 are worse is known after round 4 of 9. Gone on
    with, the run has ended."""
    script |= {"alpha": [1.0, 2.0, 2.0, 2.0], "beta": [1.0, 2.0, 2.0, 2.0]}
    plan = plan_of(9, select="best")
    tune = plan.finetune.model_copy(update={"patience": 2})
    plan = plan.model_copy(update={"finetune": tune})
    events: list[Event] = []
    result = federate(sites, plan, tmp_path, on_event=events.append)
    assert len(entries(tmp_path)) == 4 and result.digest == entries(tmp_path)[0]["digest"]
    (last,) = [event for event in events if event.kind is EventKind.VALIDATED]
    assert last.line() == "finetune round 4/9: validation loss 2.0000 at alpha, beta"
    again = federate(sites, plan, tmp_path)
    assert len(entries(tmp_path)) == 4 and again.digest == result.digest


def test_stopped_after_any_round_it_keeps_the_best_one(
    sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Stopped as each round is told, and as the last validation is. Losses are the true ones, of
    a learning rate that makes them worse."""

    class StopHereError(Exception):
        pass

    def stop(event: Event) -> None:
        if not event.replayed and event.kind in (EventKind.ROUND, EventKind.VALIDATED):
            raise StopHereError

    plan = plan_of(4, select="best")
    tune = plan.finetune.model_copy(update={"learning_rate": 0.05, "warmup_rounds": 0.0})
    plan = plan.model_copy(update={"finetune": tune})
    whole = federate(sites, plan, tmp_path / "whole")
    assert whole.notes, "the best round is not the last"
    for _ in range(5):
        with pytest.raises(StopHereError):
            federate(sites, plan, tmp_path / "cut", on_event=stop)
    assert federate(sites, plan, tmp_path / "cut").digest == whole.digest
    first, second = ([entry["validation"] for entry in entries(tmp_path / run)] for run in (
        "whole", "cut",
    ))  # fmt: skip
    assert first == second and all(first)


def test_validation_has_its_own_pace(
    sites: list[SiteSettings], tmp_path: Path, script: Script
) -> None:
    script |= {"alpha": [1.0, 2.0], "beta": [1.0, 2.0]}
    federate(sites, plan_of(3, validate_every=2), tmp_path)
    assert [bool(entry["validation"]) for entry in entries(tmp_path)] == [False, True, True]


def test_a_private_plan_sends_none(
    sites: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the server asks for: here it asks, as of a plan without privacy."""
    privacy = {"kind": "local", "noise_multiplier": 1.0, "delta": 1e-2, "secure": False}
    plan = small_plan(
        pretrain={"rounds": 0},
        finetune={"rounds": 2, "tasks": ["ef"], "local_steps": 0},
        privacy=privacy,
    )
    assert not plan.validates
    monkeypatch.setattr("server.validation.Validation.due", lambda self, number, last=False: True)
    result = federate(sites, plan, tmp_path)
    assert "validation" not in set(result.metrics["metric"])
    assert not any(entry["validation"] for entry in entries(tmp_path))
    with pytest.raises(PlanError, match="not reported under differential privacy"):
        small_plan(finetune={"local_steps": 0}, privacy=privacy, federation={"select": "best"})
    with pytest.raises(PlanError, match="but report_validation is false"):
        small_plan(federation={"select": "best", "report_validation": False})
