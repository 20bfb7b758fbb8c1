"""Plans and rounds for tests of trackers."""

from __future__ import annotations

from echofm_core.contract import Phase
from echofm_core.plan.document import Plan
from echofm_core.plan.load import plan_from_mapping
from echofm_core.tracking._api import TrackedRound


def plan(*track: str, name: str = "tracked") -> Plan:
    return plan_from_mapping({"name": name, "machine": {"track": list(track)}}, "of a test")


def pretrain(number: int, **metrics: float) -> TrackedRound:
    return TrackedRound(phase=Phase.PRETRAIN, round=number, metrics=metrics)


def finetune(number: int, **metrics: float) -> TrackedRound:
    return TrackedRound(phase=Phase.FINETUNE, round=number, metrics=metrics)
