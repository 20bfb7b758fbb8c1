"""What a site keeps of its own, on problems whose optimum is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.contract import Weights
from echofm_core.plan.federation import FederationConfig
from echofm_core.training.steps.loop import train
from echofm_core.training.steps.optimizer import Turns
from server.aggregation import build_algorithm
from tests.training.site import context
from tests.training.steps.test_loop import PLAIN, job

#: Site -> a of F(w, h) = 1/2 (w + h - a)^2 + 1/2 h^2; w is shared, h may stay.
SITES = {"a": 0.0, "b": 4.0}
RATE, STEPS = 0.1, 10
SHARED, OWN = "encoder.w", "heads.ef.h"


def descend(local: Mapping[str, float], steps: int, alternate: int, optimum: float) -> Weights:
    """Plain gradient descent of one site's round."""
    items = {name: nn.Parameter(torch.tensor([value])) for name, value in local.items()}
    turns = Turns(items, [OWN], alternate)
    stepper = torch.optim.SGD(items.values(), lr=RATE)
    for step in range(steps):
        stepper.zero_grad()
        w, h = items[SHARED], items[OWN]
        ((w + h - optimum) ** 2 / 2 + h**2 / 2).sum().backward()
        turns.take(step)
        stepper.step()
    return {name: item.detach().numpy() for name, item in items.items()}


def federate(alternate: int, rounds: int = 300) -> tuple[float, dict[str, float]]:
    """The shared w and each site's own h, as the server's rule averages what is shared."""
    rule = build_algorithm(FederationConfig(), {site: {"encoder": 1} for site in SITES})
    model: Weights = {SHARED: np.array([1.0], np.float32)}
    own = dict.fromkeys(SITES, 0.0)
    for _ in range(rounds):
        running = rule.start(model, model)
        for site, optimum in SITES.items():
            start = {SHARED: float(model[SHARED][0]), OWN: own[site]}
            done = descend(start, STEPS, alternate, optimum)
            own[site] = float(done[OWN][0])
            running.add({SHARED: done[SHARED]}, {"encoder": 1})
        model = running.finish()
    return float(model[SHARED][0]), own


def test_turns_by_hand() -> None:
    """From w = h = 1, a = 0, rate 0.1, of three steps one of its own: h's slope is w + 2 h = 3, so
    h = 0.7; then w's is w + h = 1.7 and 1.53, so w = 0.83 and 0.677. All at once: (1, 1) has
    slopes (2, 3), (0.8, 0.7) has (1.5, 2.2), (0.65, 0.48) has (1.13, 1.61).
    """
    start = {SHARED: 1.0, OWN: 1.0}
    done = descend(start, 3, 1, 0.0)
    assert done[OWN] == pytest.approx(0.7) and done[SHARED] == pytest.approx(0.677)
    both = descend(start, 3, 0, 0.0)
    assert both[SHARED] == pytest.approx(0.537) and both[OWN] == pytest.approx(0.319)


def test_fedrep_reaches_the_optimum_of_all_and_fedper_drifts() -> None:
    """The sum is least where h = (a - w) / 2 and w is the mean of a: w = 2, h = -1 and 1.

    FedRep is there to rest: w stands still while h is trained, and the pulls on w cancel. Where
    both train at once, a site's h follows its w, which leaves for the site's own optimum. With
    M = (1 - rate A)^K, A = ((1, 1), (1, 2)), and w - a = u, h rests at M21 u / (1 - M22).
    """
    w, h = federate(alternate=5)
    assert w == pytest.approx(2, abs=1e-4)
    assert h == pytest.approx({"a": -1, "b": 1}, abs=1e-4)
    moved = np.linalg.matrix_power(np.eye(2) - RATE * np.array([[1, 1], [1, 2]]), STEPS)
    rest = moved[1, 0] * 2 / (1 - moved[1, 1])
    w, h = federate(alternate=0)
    assert w == pytest.approx(2, abs=1e-4)
    assert h == pytest.approx({"a": rest, "b": -rest}, abs=1e-4)
    assert abs(rest) < 0.8, "away from the optimum, else nothing is told apart"


def test_a_round_trains_what_is_the_sites_own_first() -> None:
    """Under a constant slope each of AdamW's steps is the rate, of which the round has three."""
    config = PLAIN.model_copy(update={"local_steps": 3})

    def weight(**where: object) -> float:
        work = job([2.0], config, context(**where))
        train(work)
        return work.model.weight.item()

    rates = [job([2.0], config).rate(step, 3) for step in range(3)]
    own = weight(local=("weight",), alternate_steps=1)
    shared = weight(local=("heads.ef.weight",), alternate_steps=1)
    assert own == pytest.approx(1 - rates[0], abs=1e-5)
    assert shared == pytest.approx(1 - rates[1] - rates[2], abs=1e-5)
    assert weight(local=("weight",)) == pytest.approx(1 - sum(rates), abs=1e-5)


def test_the_proximal_term_holds_what_is_shared_alone() -> None:
    """FedProx: there is no global model of what stays."""
    config = PLAIN.model_copy(update={"local_steps": 8})
    ends = []
    for local, mu in (((), 0.0), (("weight",), 1e3), ((), 1e3)):
        work = job([2.0], config, context(local=local, proximal_mu=mu))
        train(work)
        ends.append(work.model.weight.item())
    free, own, held = ends
    assert own == free
    assert abs(held - 1) < abs(free - 1) / 2
