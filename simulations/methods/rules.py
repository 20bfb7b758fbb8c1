"""Every aggregation rule of the server as a method: the plan's federation, fine-tuned by it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation, krum_quorum
from echofm_core.runtime.errors import PlanError
from server.aggregation import ALGORITHMS
from simulations.methods._api import Federated, Piece, Setting

_FEDAVG = "FedAvg: the mean of the sites' models, round by round."


class Rule(Federated):
    """A federation whose fine-tuning averages by one rule; others of its keys are the plan's."""

    def __init__(self, aggregation: Aggregation) -> None:
        self.name = aggregation.value
        self.source = ""
        if aggregation is Aggregation.CUSTOM:
            self.words = "The user's own rule, in the file that the plan names (federation.rule)."
            return
        rule = ALGORITHMS[aggregation]
        text = inspect.getdoc(rule) or ""
        averaging = aggregation is Aggregation.FEDAVG
        self.words = _FEDAVG if averaging else _first_line(rule)
        found = re.search(r"Source: (.+?)(?:\n\n|$)", text, re.DOTALL)
        self.source = _plain(found[1]) if found else ""

    def tables(self, plan: Plan) -> Mapping[str, Mapping[str, Any]]:
        """The rule's name."""
        return {"federation": {"aggregation": self.name}}

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One federation over all sites that train.

        Raises:
            PlanError: The plan's values forbid the rule, or Krum has too few sites.
        """
        (piece,) = super().pieces(setting)
        sites, faulty = piece.arm.trainers, setting.plan.federation.faulty_sites
        if self.name == Aggregation.KRUM and sites < krum_quorum(faulty):
            raise PlanError(
                f"krum with faulty_sites = {faulty} needs {krum_quorum(faulty)} sites that train, "
                f"here are {sites}: lower faulty_sites, or compare with median or trimmed_mean."
            )
        return (piece,)


def _first_line(rule: type) -> str:
    """What the rule's own file says first."""
    return _plain((inspect.getdoc(inspect.getmodule(rule)) or "").split("\n\n")[0])


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "").split())
