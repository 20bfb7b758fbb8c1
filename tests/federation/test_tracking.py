"""A federation's rounds in TensorBoard: over the sites, none of them by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from echofm_core.tracking.config import TrackerName
from echofm_core.training.config import ExecutionConfig
from server.events import Event
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, small_plan, with_states
from tests.tracking.read import tensorboard_curves


class StopHereError(Exception):
    pass


def test_every_round_once_over_an_interruption(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Stopped after the first round of fine-tuning; losses are those that the console showed."""
    plan = small_plan()
    machine = plan.machine.model_copy(update={"track": (TrackerName.TENSORBOARD,)})
    plan = plan.model_copy(update={"machine": machine})
    losses: dict[tuple[str, int], float] = {}

    def show(event: Event) -> None:
        if event.round_done:
            losses[event.phase, event.round] = event.loss
        if (event.phase, event.round, event.replayed) == ("finetune", 1, False):
            raise StopHereError

    run = tmp_path / "run"
    with Engine(execution=ExecutionConfig(device="cpu")) as engine:
        grid = engine.grid(with_states(built_sites, tmp_path / "states"))
        with pytest.raises(StopHereError):
            run_federation(grid, plan, run, on_event=show)
        run_federation(grid, plan, run, resume=True, on_event=show)
    curves = tensorboard_curves(run)
    for phase in ("pretrain", "finetune"):
        entries = [
            json.loads((run / f"journal/{phase}-{number:04d}.json").read_text())
            for number in (1, 2)
        ]
        assert dict(curves[f"{phase}/loss"]) == pytest.approx(
            {n: losses[phase, n] for n in (1, 2)}, rel=1e-6
        )
        assert len(curves[f"{phase}/loss"]) == 2
        assert curves[f"{phase}/seconds"] == [
            (n, float(np.float32(entry["seconds"]))) for n, entry in enumerate(entries, 1)
        ]
        assert curves[f"{phase}/sites"] == [(1, 3.0), (2, 3.0)]
        assert curves[f"{phase}/clips"] == [(1, 9.0), (2, 9.0)]
    for file in (run / "tensorboard").iterdir():
        content = file.read_bytes()
        assert not [word for word in (*NAMES, "Doe", "John") if word.encode() in content]
