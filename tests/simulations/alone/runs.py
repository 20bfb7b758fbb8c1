"""An institution by itself, below its commands: prepared once, trained, stopped, looked at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echofm_core.contract import Phase, Weights
from echofm_core.data.prepare import Prepared, as_one_site, prepare
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.runtime.array_files import load
from server.ending import FederationResult
from server.events import Event
from simulations.alone import federate_one, plan_of_one
from simulations.prepare import save_sites


def prepared_at(plan: Plan, cache: Path) -> Prepared:
    """All clips of the plan, as of one site."""

    def place(manifest: Any) -> Any:
        return as_one_site(manifest, plan.protocol, plan.seed)

    datasets = plan.protocol.datasets
    return prepare(plan.data, plan.machine, datasets, cache, place, lambda manifest: None)


def train(
    plan: Plan,
    prepared: Prepared,
    run: Path,
    phase: Phase = Phase.FINETUNE,
    *,
    weights: Weights | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> FederationResult:
    """Begin, or go on with, a run."""
    own = plan_of_one(plan, phase)
    save_sites(prepared, own, run)
    resume = (run / "journal").exists()
    return federate_one(own, run, prepared, weights=weights, resume=resume, on_event=on_event)


def changed(plan: Plan, **tables: dict[str, object]) -> Plan:
    """The plan with other values in some tables."""
    values = plan.decisive()
    for name, table in tables.items():
        values[name] = {**values[name], **table}
    named = {"federation": plan.federation.model_dump(include=plan.federation.model_fields_set)}
    if "federation" not in tables:
        values |= named
    return plan_from_mapping(values, "of a test").model_copy(update={"machine": plan.machine})


def entries(run: Path) -> list[dict[str, Any]]:
    """The journal, in order."""
    return [json.loads(path.read_text()) for path in sorted((run / "journal").glob("*.json"))]


def losses(run: Path) -> list[float]:
    """Validation loss of each round's result."""
    return [entry["validation"]["institution"] for entry in entries(run)]


def checkpoint(run: Path, number: int, phase: str = "finetune") -> Weights:
    """Weights after a round, with adapters apart."""
    return load(run / "checkpoints" / f"{phase}-{number:04d}.safetensors")
