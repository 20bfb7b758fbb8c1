"""The true round loop over toy sites, without a plan's data or model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import Grid

from echofm_core.contract import Phase, Weights
from echofm_core.plan.federation import FederationConfig
from echofm_core.runtime.checksum import digest
from server.aggregation import build_algorithm
from server.events import Event
from server.journal import Entry
from server.live_steps import OnStep, ignore_step
from server.phase import train_phase
from server.phase_run import Participant, PhaseRun
from simulations.engine import SiteSettings
from tests.federation.toy import CLIPS, change

START = {
    "encoder.a": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "encoder.b": np.ones(5, np.float32) / 3,
}


def settings(names: Sequence[str], folder: Path) -> list[SiteSettings]:
    """Toy sites have no files."""
    return [SiteSettings(name=name, manifest=folder, store=folder, state=folder) for name in names]


def folded(order: Sequence[str], *, rounds: int = 1) -> Weights:
    """What the rule makes of the toy sites' updates when they are added in this order."""
    return folded_each([order] * rounds)


def folded_each(orders: Sequence[Sequence[str]]) -> Weights:
    """As :func:`folded`, with sites of its own each round."""
    weights: Weights = START
    for number, order in enumerate(orders, start=1):
        running = build_algorithm(FederationConfig(), phase=Phase.PRETRAIN).start(weights, weights)
        for site in order:
            moved = {
                name: array + change(site, number, name, array.shape)
                for name, array in weights.items()
            }
            running.add(moved, {"encoder": CLIPS})
        weights = running.finish()
    return weights


def train(
    grid: Grid,
    names: Sequence[str],
    scratch: Path,
    *,
    rounds: int = 2,
    on_event: Callable[[Event], None] = lambda event: None,
    on_step: OnStep = ignore_step,
    **federation: Any,
) -> tuple[Weights, list[Entry]]:
    """Train; the entries are those that a journal would get."""
    entries: list[Entry] = []
    spec = PhaseRun(
        phase=Phase.PRETRAIN,
        rounds=rounds,
        participants={name: Participant(node=node) for node, name in enumerate(names, start=1)},
        federation=FederationConfig(**federation),
        plan="{}",
        plan_hash="x",
        run="toy",
        scratch=scratch,
        on_step=on_step,
    )
    weights = train_phase(
        grid, START, spec, on_round=lambda entry, _: entries.append(entry), on_event=on_event
    )
    assert digest(weights) == entries[-1].digest
    return weights, entries
