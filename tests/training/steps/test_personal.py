"""What a site keeps of its own, on problems whose optimum is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from echofm_core.contract import Weights
from echofm_core.plan.federation import FederationConfig
from echofm_core.training.steps.loop import batches, train
from echofm_core.training.steps.optimizer import ProximalPull, Turns
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


def ditto(strength: float, rounds: int) -> tuple[float, dict[str, float]]:
    """FedAvg's w of F(w) = c / 2 (w - a)^2, and each site's own v, held near the w of the round."""
    rule = build_algorithm(FederationConfig(), {site: {"encoder": 1} for site in CURVES})
    model: Weights = {SHARED: np.array([1.0], np.float32)}
    own: dict[str, float] = {}
    for _ in range(rounds):
        running, sent = rule.start(model, model), model[SHARED].copy()
        for site, (curve, optimum) in CURVES.items():
            for mu, start in ((0.0, sent), (strength, own.get(site, sent))):
                weight = nn.Parameter(torch.tensor(np.reshape(start, 1), dtype=torch.float32))
                pull = ProximalPull([weight], mu, [torch.from_numpy(sent)])
                stepper = torch.optim.SGD([weight], lr=RATE)
                for _ in range(STEPS):
                    stepper.zero_grad()
                    (curve / 2 * (weight - optimum) ** 2).sum().backward()
                    pull.add()
                    stepper.step()
                if mu:
                    own[site] = weight.item()
                else:
                    running.add({SHARED: weight.detach().numpy()}, {"encoder": 1})
        model = running.finish()
    return float(model[SHARED][0]), own


#: Site -> c and a of F(w) = c / 2 (w - a)^2.
CURVES = {"a": (1.0, 0.0), "b": (1.0, 4.0)}


def test_a_step_of_ditto_by_hand() -> None:
    """v = 3, w = 1, a = 0, lambda 0.5: the slope is 3 + 0.5 * 2 = 4, so v moves to 3 - 0.4."""
    v = nn.Parameter(torch.tensor([3.0]))
    pull = ProximalPull([v], 0.5, [torch.tensor([1.0])])
    v.grad = v.detach().clone()
    pull.add()
    torch.optim.SGD([v], lr=RATE).step()
    assert v.item() == pytest.approx(2.6)


def test_ditto_settles_between_a_sites_optimum_and_the_global_one() -> None:
    """w = 2, the mean of a. Site's c / 2 (v - a)^2 + lambda / 2 (v - w)^2 is least at
    (c a + lambda w) / (c + lambda): for lambda 0.5 at 1 / 1.5 and 5 / 1.5.
    """
    w, own = ditto(0.5, rounds=60)
    assert w == pytest.approx(2, abs=1e-4)
    assert own == pytest.approx({"a": 2 / 3, "b": 10 / 3}, abs=1e-4)


def test_an_anchor_is_what_a_round_is_held_near() -> None:
    """From 1, without a slope: towards 3, and, where no anchor is given, nowhere."""
    config = PLAIN.model_copy(update={"local_steps": 60})
    ends = []
    for anchor in ({}, {"weight": np.full((1, 1), 3.0, np.float32)}):
        work = job([0.0], config, context(proximal_mu=1.0, anchor=anchor))
        train(work)
        ends.append(work.model.weight.item())
    assert ends[0] == 1.0
    assert 2.5 < ends[1] < 3.5


def test_what_repeatable_noise_is_drawn_by_is_as_before_there_were_classes_of_stenosis() -> None:
    """Classes that follow from grades say nothing new; one without a grade does."""
    plain = job([1.0] * 3, PLAIN, context())
    blank = pd.array([pd.NA] * 3, "Int32")
    grades, classes = pd.array([4, 0, None], "Int32"), pd.array([2, 0, None], "Int32")
    graded, classed, more = (
        replace(plain, manifest=plain.manifest.assign(as_grade=grade, as_class=kind)).fingerprint()
        for grade, kind in ((grades, blank), (grades, classes), (grades, classes.fillna(1)))
    )
    assert graded == classed != more


def test_a_role_has_streams_and_files_of_its_own(tmp_path: Path) -> None:
    """Else a site's own model would draw the global one's clips, and take its moments."""
    both = [job([1.0] * 9, PLAIN, context(role=role, state=tmp_path)) for role in ("", "personal")]
    first, second = ([*np.concatenate([*islice(batches(work), 9)])] for work in both)
    assert sorted(first) == sorted(second) and first != second
    keeping = PLAIN.model_copy(update={"keep_optimizer": True})
    paths = {str(replace(work, config=keeping).moments().files.path(1)) for work in both}
    assert len(paths) == 2
    assert len({work.fingerprint() for work in both}) == 2


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
