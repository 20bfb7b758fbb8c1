"""What a fold holds beside what it is handed: its running sum, whatever the rule and the sites."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from echofm_core.plan.federation import Aggregation, FederationConfig
from server.aggregation import ALGORITHMS, build_algorithm

#: Numbers of one array; the model has eight, 16 MiB in all.
SIZE = 1 << 19
MODEL = 8 * 4 * SIZE

#: Rules that remember arrays as large as the model.
REMEMBER = (
    Aggregation.FEDADAM,
    Aggregation.FEDYOGI,
    Aggregation.FEDADAGRAD,
    Aggregation.FEDAVGM,
)


@pytest.mark.parametrize("sites", [2, 12])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_round_holds_one_model_beside_what_is_sent_and_the_reply(
    name: Aggregation, sites: int, tmp_path: Path
) -> None:
    """With the model that was sent and the reply that is folded, that makes the three of the bar.

    Allowed beside it: chunks, and one array that a rule may copy.
    """
    sent = {f"encoder.{i}": np.zeros(SIZE, np.float32) for i in range(8)}
    reply = {key: array + np.float32(1) for key, array in sent.items()}
    rule = build_algorithm(FederationConfig(aggregation=name), folder=tmp_path)
    tracemalloc.start()
    try:
        running = rule.start(sent, sent)
        for _ in range(sites):
            running.add(reply, {"encoder": 1})
        model = running.finish()
        for _, arrays in rule.state():
            del arrays
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(model) == len(sent)
    # A part of the state is loaded once the running sum has become the model.
    assert peak < (2.4 if name in REMEMBER else 1.4) * MODEL
