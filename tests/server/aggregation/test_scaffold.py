from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from echofm_core.contract import Phase, Update, Weights
from echofm_core.plan.federation import Aggregation, FederationConfig, TrunkWeights
from echofm_core.training.steps.control import ControlFiles, ControlVariate
from server.aggregation import build_algorithm
from server.aggregation._api import Algorithm

#: Site -> clips that it announces.
SITES = {"a": {"encoder": 1, "heads.ef": 1}, "b": {"encoder": 3, "heads.ef": 0}}
START = {"encoder.w": np.zeros(2, np.float32)}


def scaffold(weights: TrunkWeights = TrunkWeights.EQUAL) -> Algorithm:
    config = FederationConfig(aggregation=Aggregation.SCAFFOLD, trunk_weights=weights)
    return build_algorithm(config, SITES)


def reply(
    site: str, round_: int, encoder: list[float], control: list[float], ef: float | None = None
) -> Update:
    arrays, controls = {"encoder.w": encoder}, {"control/encoder.w": control}
    if ef is not None:
        arrays["heads.ef.w"], controls["control/heads.ef.w"] = [0.0], [ef]
    return Update(
        site=site,
        phase=Phase.FINETUNE,
        round=round_,
        plan_hash="x",
        weights={name: np.array(values, np.float32) for name, values in arrays.items()},
        counts={name.rpartition(".")[0]: 1 for name in arrays},
        metrics={},
        checksum=0,
        extra={name: np.array(values, np.float32) for name, values in controls.items()},
    )


def fold(rule: Algorithm, *updates: Update, start: Weights = START) -> Weights:
    running = rule.start(start, start)
    for update in updates:
        running.add(update.weights, update.counts, update)
    return running.finish()


def test_an_update_by_hand() -> None:
    """Sites weigh alike. Models move by (2, 4) and (4, 0): mean (3, 2). Control variates change
    by (1, 2) and (3, -2): c = (2, 0). The head is a's alone: its change of 5 counts whole.
    """
    rule = scaffold()
    start = START | {"heads.ef.w": np.zeros(1, np.float32)}
    model = fold(rule, reply("a", 1, [2, 4], [1, 2], ef=5), reply("b", 1, [4, 0], [3, -2]),
                 start=start)  # fmt: skip
    np.testing.assert_array_equal(model["encoder.w"], [3, 2])
    np.testing.assert_array_equal(rule.arrays()["control/encoder.w"], [2, 0])
    np.testing.assert_array_equal(rule.arrays()["control/heads.ef.w"], [5])


def test_a_site_alone_moves_the_model_whole_and_the_control_variate_by_its_part() -> None:
    """b, of weight 3/4 by clips, answers alone: the model is its own, c moves by 3/4 of (4, 8)."""
    rule = scaffold(TrunkWeights.CLIPS)
    model = fold(rule, reply("b", 1, [6, 2], [4, 8]))
    np.testing.assert_array_equal(model["encoder.w"], [6, 2])
    np.testing.assert_array_equal(rule.arrays()["control/encoder.w"], [3, 6])


def test_a_site_hears_which_of_its_rounds_counted() -> None:
    """b was late in round 2: its next change must be from round 1 again."""
    rule = scaffold()
    assert rule.instruct("a") == {"control_round": 0}
    assert rule.arrays() == {}
    fold(rule, reply("a", 1, [0, 0], [1, 1]), reply("b", 1, [0, 0], [1, 1]))
    fold(rule, reply("a", 2, [0, 0], [1, 1]))
    assert rule.instruct("a") == {"control_round": 2}
    assert rule.instruct("b") == {"control_round": 1}
    again = scaffold()
    again.restore((part, dict(arrays)) for part, arrays in rule.state())
    assert again.instruct("b") == {"control_round": 1}
    np.testing.assert_array_equal(again.arrays()["control/encoder.w"], [1.5, 1.5])


#: f_a = 1/2 x^2 and f_b = 3/2 (x - 4)^2: the sum is least at (1 * 0 + 3 * 4) / 4 = 3.
CURVES = {"a": (1.0, 0.0), "b": (3.0, 4.0)}
Optimizer = Callable[[list[nn.Parameter], int], torch.optim.Optimizer]


def sgd(parameters: list[nn.Parameter], round_: int) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def adamw(parameters: list[nn.Parameter], round_: int) -> torch.optim.Optimizer:
    """As sites train: new moments each round, a rate that falls to zero over the rounds."""
    rate = 0.1 * (1 + math.cos(math.pi * round_ / 200)) / 2
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.999), weight_decay=0.0)


def descend(
    name: Aggregation,
    folder: Path,
    optimizer: Optimizer = sgd,
    rounds: int = 60,
    away: Callable[[str, int], bool] = lambda site, round_: False,
) -> float:
    """Where ten local steps a round lead; sites that are ``away`` train, but do not count."""
    every: Mapping[str, Mapping[str, int]] = {site: {"encoder": 1} for site in CURVES}
    rule = build_algorithm(FederationConfig(aggregation=name), every)
    model: Weights = {"encoder.w": np.zeros(1, np.float32)}
    for round_ in range(1, rounds + 1):
        server = {n.removeprefix("control/"): array for n, array in rule.arrays().items()}
        running = rule.start(model, model)
        for site, (curve, optimum) in CURVES.items():
            weight = nn.Parameter(torch.from_numpy(model["encoder.w"].copy()))
            base = int(rule.instruct(site).get("control_round", 0))
            files = ControlFiles(folder / site, Phase.PRETRAIN, round_, base)
            files.begin(server, model)
            scaffolds = name is Aggregation.SCAFFOLD
            control = ControlVariate({"encoder.w": weight}, files if scaffolds else None)
            stepper = optimizer([weight], round_)
            for _ in range(10):
                stepper.zero_grad()
                (curve / 2 * (weight - optimum) ** 2).sum().backward()
                control.add() if scaffolds else None
                stepper.step()
            control.finish()
            extra = files.end(model) if scaffolds else {}
            update = Update(
                site=site, phase=Phase.PRETRAIN, round=round_, plan_hash="x",
                weights={"encoder.w": weight.detach().numpy()}, counts={"encoder": 1}, metrics={},
                checksum=0, extra={f"control/{n}": array for n, array in extra.items()},
            )  # fmt: skip
            if not away(site, round_):
                running.add(update.weights, update.counts, update)
        model = running.finish()
    return float(model["encoder.w"][0])


def test_fedavg_is_biased_where_scaffold_reaches_the_optimum(tmp_path: Path) -> None:
    """Ten steps of 0.1 leave r_a = 0.9^10 and r_b = 0.7^10 of the way to a site's own optimum.

    FedAvg settles at x = ((1 - r_a) * 0 + (1 - r_b) * 4) / ((1 - r_a) + (1 - r_b)) = 2.395, where
    the gradient of the sum is not zero.
    """
    left_a, left_b = 0.9**10, 0.7**10
    biased = (1 - left_b) * 4 / ((1 - left_a) + (1 - left_b))
    assert biased == pytest.approx(2.395, abs=1e-3)
    assert descend(Aggregation.FEDAVG, tmp_path / "avg") == pytest.approx(biased, abs=1e-4)
    assert descend(Aggregation.SCAFFOLD, tmp_path) == pytest.approx(3.0, abs=1e-4)


def test_with_adamw_too(tmp_path: Path) -> None:
    """AdamW's steps are as long at both sites, so FedAvg ends about midway between the optima."""
    free = descend(Aggregation.FEDAVG, tmp_path / "avg", adamw, rounds=200)
    assert abs(free - 3) > 0.4
    assert descend(Aggregation.SCAFFOLD, tmp_path, adamw, rounds=200) == pytest.approx(3, abs=0.05)


def test_updates_that_do_not_count_leave_no_trace(tmp_path: Path) -> None:
    """b trains but is late in every fourth round, a in every seventh: the optimum is the same.

    Were b's change taken from the update that was lost, c would be wrong for good.
    """

    def away(site: str, round_: int) -> bool:
        return round_ < 100 and round_ % {"a": 7, "b": 4}[site] == 0

    found = descend(Aggregation.SCAFFOLD, tmp_path, rounds=200, away=away)
    assert found == pytest.approx(3.0, abs=1e-4)
