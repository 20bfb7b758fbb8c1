from __future__ import annotations

import numpy as np

from echofm_core.contract import Weights
from echofm_core.plan.federation import FederationConfig, Wire
from echofm_core.post_processing import from_server, from_site, post_processing

WEIGHTS = {"encoder.w": np.array([0.1, 1.0], np.float32)}


def test_the_wire_rounds_both_ways() -> None:
    """0.1 is 1638 * 2^-14 = 0.0999755859375 in fp16, as IEEE 754 rounds it; 1 is itself."""
    steps = post_processing(FederationConfig(wire=Wire.FP16))
    for rounded in (from_site(steps, WEIGHTS, WEIGHTS), from_server(steps, WEIGHTS)):
        assert rounded["encoder.w"].dtype == np.float16
        assert rounded["encoder.w"].tolist() == [0.0999755859375, 1.0]


def test_a_model_that_no_step_changes_is_not_copied() -> None:
    steps = post_processing(FederationConfig())
    assert from_server(steps, WEIGHTS)["encoder.w"] is WEIGHTS["encoder.w"]


def test_steps_are_taken_in_the_order_of_the_list() -> None:
    """Halve the change, then add one: (1 + (5 - 1) / 2) + 1 = 4; the other way round 3.5."""

    class Halve:
        def from_site(self, trained: Weights, sent: Weights) -> Weights:
            return {name: (array + sent[name]) / 2 for name, array in trained.items()}

        def from_server(self, weights: Weights) -> Weights:
            return weights

    class Add(Halve):
        def from_site(self, trained: Weights, sent: Weights) -> Weights:
            return {name: array + 1 for name, array in trained.items()}

    trained, sent = {"w": np.array([5.0])}, {"w": np.array([1.0])}
    assert from_site((Halve(), Add()), trained, sent)["w"].tolist() == [4.0]
    assert from_site((Add(), Halve()), trained, sent)["w"].tolist() == [3.5]
