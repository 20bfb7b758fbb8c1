"""What may help depends on the rule: nothing is advised that the rule does not read."""

from __future__ import annotations

import pytest

from echofm_core.plan.federation import Aggregation
from echofm_core.plan.load import plan_from_mapping
from server.advice import advice

STEPS, TRUNK = "More finetune.local_steps, or ", "another federation.trunk_weights"


def given(
    rule: str, sites: int = 3, finetune: dict[str, object] | None = None, **keys: float
) -> str:
    federation = {"aggregation": rule, **keys}
    plan = plan_from_mapping({"federation": federation, "finetune": finetune or {}}, "test")
    return advice(plan, sites)


@pytest.mark.parametrize("rule", ["fedadam", "fedyogi", "fedadagrad"])
def test_a_server_that_steps_too_far_is_told_so_and_nothing_else(rule: str) -> None:
    """0.01 is the default."""
    assert given(rule).startswith("Try federation.server_learning_rate = 0.001 in place of 0.01 ")
    assert "local_steps" not in given(rule) and "trunk_weights" not in given(rule)
    expected = f"{STEPS}another federation.server_learning_rate or {TRUNK}, may help."
    assert given(rule, server_learning_rate=0.001) == expected


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("fedavg", f"{TRUNK},"),
        ("scaffold", f"{TRUNK},"),
        ("fednova", f"{TRUNK},"),
        ("fedprox", f"a smaller federation.proximal_mu or {TRUNK},"),
        ("fedavgm", f"another federation.server_momentum or {TRUNK},"),
        ("qfedavg", f"another federation.fairness_q or {TRUNK},"),
        ("median", "rounds,"),
        ("trimmed_mean", "rounds,"),
        ("krum", "rounds,"),
    ],
)
def test_each_rule_has_its_own_keys(rule: str, words: str) -> None:
    assert given(rule) == f"{STEPS}{words} may help."


@pytest.mark.parametrize("rule", [rule.value for rule in Aggregation if rule.value != "custom"])
def test_a_site_alone_is_averaged_with_nobody(rule: str) -> None:
    assert given(rule, sites=1) == f"{STEPS}rounds, may help."


def test_passes_are_named_where_the_plan_counts_in_them() -> None:
    found = given("fedavg", finetune={"local_epochs": 2})
    assert found.startswith("More finetune.local_epochs, or ")
