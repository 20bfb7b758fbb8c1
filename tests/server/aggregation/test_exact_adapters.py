"""Adapters averaged exactly, against means of products in float64."""

from __future__ import annotations

import numpy as np
import pytest

from echofm_core.contract import Phase, Weights, group_of
from echofm_core.plan.federation import Aggregation, FederationConfig, TrunkWeights
from server.aggregation import build_algorithm
from server.aggregation.exact_adapters import ExactAdapters, layers_below

W, A = "encoder.blocks.0.attn.qkv.weight", "lora_a.blocks.0.attn.qkv.weight"
B = A.replace("lora_a", "lora_b")
Site = tuple[Weights, int]


def averaged(
    sites: list[Site], current: Weights, scale: float, sent: Weights | None = None, **table: object
) -> dict[str, np.ndarray]:
    """The model after a round; ``sites``: what each sends, and its clips."""
    config = FederationConfig.model_validate({"trunk_weights": TrunkWeights.CLIPS, **table})
    rule = build_algorithm(config, phase=Phase.FINETUNE)
    sent = sent or {name: array for name, array in current.items() if name != W}
    fold = ExactAdapters(rule.start(sent, current), sent, current, rule.shares, scale)
    for weights, clips in sites:
        fold.add(weights, dict.fromkeys(map(group_of, weights), clips))
    return fold.finish()


def drawn(rng: np.random.Generator, a: Weights | None = None) -> dict[str, np.ndarray]:
    """A layer of 96 x 40 with an adapter of rank 5, of the size that trained ones have."""
    shapes = {W: (96, 40), A: (5, 40), B: (96, 5)}
    found = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    return {**found, **(a or {})}


def effective(weights: Weights, scale: float) -> np.ndarray:
    """``W + scale * B A`` in float64."""
    w, a, b = (weights[name].astype(np.float64) for name in (W, A, B))
    return w + scale * b @ a


def test_one_number_by_hand() -> None:
    """W = 10, s = 2. Sites end with (A, B) = (3, 1) and (1, 3): they compute with 10 + 2 * 3 = 16.

    The means are A = 2 and B = 2, which alone would give 10 + 2 * 4 = 18: W becomes 8.
    """
    start = {W: np.float32([[10]]), A: np.float32([[1]]), B: np.float32([[0]])}
    sites: list[Site] = [
        ({A: np.float32([[3]]), B: np.float32([[1]])}, 7),
        ({A: np.float32([[1]]), B: np.float32([[3]])}, 7),
    ]
    found = averaged(sites, start, 2.0)
    assert {name: array.item() for name, array in found.items()} == {W: 8, A: 2, B: 2}


@pytest.mark.parametrize(
    ("rule", "product"), [(Aggregation.FEDAVG, 1 << 17), (Aggregation.FEDPROX, 2000)]
)
def test_over_rounds_it_is_the_mean_of_products(
    rule: Aggregation, product: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three sites of 3, 1 and 6 clips, five rounds, each from where the one before ended.

    What A and B alone are worth is off by more than a hundredth. 2000 multiplications are ten rows
    of the 96: the last piece of them is not whole.
    """
    monkeypatch.setattr("server.aggregation.exact_adapters.PRODUCT", product)
    rng, scale = np.random.default_rng(0), 2.0
    model, worst, biased = drawn(rng), 0.0, 0.0
    model[B] = np.zeros_like(model[B])
    for _ in range(5):
        sites: list[Site] = [
            ({A: model[A] + drawn(rng)[A], B: model[B] + drawn(rng)[B]}, clips)
            for clips in (3, 1, 6)
        ]
        expected = sum(
            clips / 10 * effective({W: model[W], **weights}, scale) for weights, clips in sites
        )
        found = averaged(sites, model, scale, aggregation=rule)
        worst = max(worst, np.abs(effective(found, scale) - expected).max())
        separate = effective({**found, W: model[W]}, scale)
        biased = max(biased, np.abs(separate - expected).max())
        model = found
    assert worst < 1e-6
    assert biased > 1e-2
    assert model[A].shape == (5, 40), "the rank stays"


def test_rounding_on_the_wire_is_not_taken_for_a_change() -> None:
    """In fp16 sites start beside the model: their changes count, from where the model is."""
    rng, scale = np.random.default_rng(1), 4.0
    current = drawn(rng)
    sent = {name: current[name].astype(np.float16) for name in (A, B)}
    sites: list[Site] = [
        ({name: (sent[name] + drawn(rng)[name]).astype(np.float16) for name in sent}, 1)
        for _ in range(3)
    ]
    expected = np.mean(
        [
            effective(
                {W: current[W]}
                | {n: current[n] + weights[n].astype(np.float64) - sent[n] for n in sent},
                scale,
            )
            for weights, _ in sites
        ],
        axis=0,
    )
    found = averaged(sites, current, scale, sent)
    assert np.abs(effective(found, scale) - expected).max() < 1e-6


def test_one_site_or_the_same_change_leaves_the_layer() -> None:
    """There is no residual but for rounding: a federation of one is training alone."""
    rng = np.random.default_rng(2)
    start, end = drawn(rng), drawn(rng)
    own = {name: end[name] for name in (A, B)}
    for sites in ([(own, 4)], [(own, 4), (own, 2)]):
        assert np.abs(averaged(sites, start, 2.0)[W] - start[W]).max() < 1e-7


def test_who_trains_no_adapter_changes_no_layer() -> None:
    """A head alone came: layer and adapters are passed on as they are; then of two sites one."""
    rng = np.random.default_rng(3)
    head = {"heads.ef.w": np.float32([1.0])}
    start = {**drawn(rng), **head}
    found = averaged([(head, 3)], start, 2.0)
    assert all(np.array_equal(found[name], start[name]) for name in start)
    own = {name: drawn(rng)[name] for name in (A, B)}
    both = averaged([(head, 3), (own, 4)], start, 2.0)
    np.testing.assert_allclose(
        effective(both, 2.0), effective({W: start[W], **own}, 2.0), atol=1e-6
    )


def test_layers_are_those_of_the_adapters() -> None:
    names = {*drawn(np.random.default_rng(0)), "encoder.norm.weight", "stf_net.x", "heads.ef.w"}
    assert layers_below(dict.fromkeys(names, np.zeros(1))) == {W}
