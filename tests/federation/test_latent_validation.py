"""Pre-training on latent targets, its rounds chosen and ended by validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client import training
from echofm_core.contract import ENCODER, TRAIN, VALIDATE
from echofm_core.data.manifest import load_manifest, save_manifest
from server.events import Event, EventKind
from simulations.engine import SiteSettings
from tests.federation.test_latent import KIND, checkpoint, entries, group, latent_plan, same
from tests.federation.wiretap import federate


@pytest.fixture(scope="module")
def validating(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> list[SiteSettings]:
    """alpha, its last training patient held out."""
    (site,) = built_sites[:1]
    rows = load_manifest(site.manifest)
    rows.loc[rows.index[rows["split"] == "train"][-1], "split"] = "val"
    path = tmp_path_factory.mktemp("validating") / "alpha.parquet"
    save_manifest(rows, path)
    return [SiteSettings(name=site.name, manifest=path, store=site.store, state=site.state)]


def test_losses_of_teacher_and_student_are_not_compared(
    validating: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each round's result is validated, the teacher's last one by a message of its own.

    The teacher's four rounds find .1 to .4, the student's 3, 2, 4: its second is kept, round 6 of
    7. With a patience of 1 the teacher, which got worse, has its four rounds nevertheless.
    """
    script = [0.1, 0.2, 0.3, 0.4, 3.0, 2.0, 4.0]
    losses, true = iter(script), training.validation_loss

    def written(*args: Any, **more: Any) -> float:
        assert true(*args, **more) is not None
        return next(losses)

    monkeypatch.setattr(training, "validation_loss", written)
    plan = latent_plan({"select": "best"}, rounds=7, teacher_rounds=4, patience=1)
    events: list[Event] = []
    result, tap = federate(validating, plan, tmp_path, on_event=events.append)
    assert [entry["validation"]["alpha"] for entry in entries(tmp_path)] == script
    kept = group(checkpoint(tmp_path, 6), ENCODER)
    assert same(group(result.weights, ENCODER), kept) and "round 6 is kept" in result.notes[0]
    ends = [event for event in events if event.kind is EventKind.VALIDATED]
    assert [event.round for event in ends] == [4, 7]
    asked = tap.numbers[KIND, "5"]
    assert [(it[VALIDATE], it.get(TRAIN, 1.0)) for it in asked] == [(1.0, 0.0), (0.0, 1.0)]


def test_patience_ends_the_student(
    validating: list[SiteSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first round is the best; that the second is worse is known after its third of five."""
    losses = iter([0.2, 0.1, 1.0, 2.0, 2.0])
    monkeypatch.setattr(training, "validation_loss", lambda *args, **more: next(losses))
    plan = latent_plan({"select": "best"}, rounds=7, patience=1)
    result, _ = federate(validating, plan, tmp_path)
    assert [entry["round"] for entry in entries(tmp_path)] == [1, 2, 3, 4, 5]
    assert "round 3 is kept" in result.notes[0]
