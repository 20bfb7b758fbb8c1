"""`echofm simulate --list` names all that there is to choose from."""

from echofm_core.evaluation.config import Baseline
from simulations.methods import METHODS, SETS
from simulations.protocols.assign import RULES
from simulations.study.listing import listed


def test_every_protocol_method_and_baseline_is_explained() -> None:
    protocols, methods, baselines = listed().values()
    assert [row[0] for row in protocols.rows] == [name.value for name in RULES]
    assert [row[0] for row in methods.rows] == [*SETS, *METHODS]
    assert [row[0] for row in baselines.rows] == [*(item.value for item in Baseline), "no_network"]
    tried = {row[0]: row[2] for row in methods.rows}
    assert tried["fedavg"] == "finetune.learning_rate"
    assert tried["fedprox"].startswith("federation.proximal_mu: 0.1, 0.001, 1, ")
    assert all(tried[name] for name in METHODS)
    for table in listed().values():
        assert all(cell for row in table.rows for cell in row[:2])
