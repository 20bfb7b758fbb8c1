"""Every aggregation rule of the server as a method: the plan's federation, fine-tuned by it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from echofm_core.plan.document import Plan
from echofm_core.plan.federation import Aggregation, check_trainers
from server.aggregation import ALGORITHMS
from simulations.methods._api import Federated, Piece, Setting, Values, each

_SERVER_RATES = each("federation.server_learning_rate", (1e-3, 3e-3, 3e-4, 1e-2, 1e-4, 3e-2, 0.1))
#: What a study tries of a rule's own key. Rules that are not here have none that validation could
#: choose: those of median, trimmed mean and Krum say how many sites are feared to be faulty.
_TRIED: Mapping[Aggregation, Sequence[Values]] = {
    # The list that its authors give for other data (github.com/litian96/FedProx, README).
    Aggregation.FEDPROX: each("federation.proximal_mu", (0.1, 0.001, 1.0, 0.01, 0.5)),
    # Half powers of ten, as in Reddi et al. 2021, but lower: the weights of a pre-trained encoder
    # are to move little.
    Aggregation.FEDADAM: _SERVER_RATES,
    Aggregation.FEDYOGI: _SERVER_RATES,
    Aggregation.FEDADAGRAD: _SERVER_RATES,
    # Of the values of Hsu et al. 2019: 0, 0.7, 0.9, 0.97, 0.99 and 0.997.
    Aggregation.FEDAVGM: each("federation.server_momentum", (0.7, 0.97, 0.0, 0.9, 0.99)),
    # Powers as in Li et al. 2020 (q-FFL), those up to 5.
    Aggregation.QFEDAVG: each("federation.fairness_q", (0.1, 5.0, 0.01, 2.0, 1.0)),
}


def tried_by(rule: Aggregation) -> Sequence[Values]:
    """What a study tries of a rule's own key; may be empty."""
    return _TRIED.get(rule, ())


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

    def tried(self, plan: Plan) -> Sequence[Values]:
        """Of the rule's own key."""
        return tried_by(Aggregation(self.name))

    def pieces(self, setting: Setting) -> Sequence[Piece]:
        """One federation over all sites that train.

        Raises:
            PlanError: The plan's values forbid the rule, or Krum has too few sites.
        """
        (piece,) = super().pieces(setting)
        check_trainers(piece.plan.federation, piece.arm.trainers)
        return (piece,)


def _first_line(rule: type) -> str:
    """What the rule's own file says first."""
    return _plain((inspect.getdoc(inspect.getmodule(rule)) or "").split("\n\n")[0])


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "").split())
