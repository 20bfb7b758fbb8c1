"""Methods that differ in how adapters are averaged."""

from __future__ import annotations

import pytest

from echofm_core.models.config import AdapterAveraging
from echofm_core.runtime.errors import PlanError
from echofm_core.training.config import TuneMode
from echofm_core.training.personal import PersonalConfig
from simulations.methods import METHODS
from tests.simulations.methods.test_contract import setting, starts


@pytest.mark.parametrize(
    ("name", "averaging", "freeze_a"),
    [("fedit", "separate", False), ("ffa_lora", "separate", True), ("fedex_lora", "exact", False)],
)
def test_a_method_is_its_mean_with_the_plans_adapters(
    name: str, averaging: str, freeze_a: bool
) -> None:
    """Whatever the plan's own mean is; all begin with the encoder that FedAvg begins with."""
    lora = {"rank": 3, "targets": ["fc1"], "averaging": "exact"}
    here = setting(finetune={"rounds": 3, "mode": "full", "lora": lora})
    (piece,) = METHODS[name].pieces(here)
    found = piece.plan.finetune
    assert found.mode is TuneMode.LORA and found.rounds == 3
    assert found.lora.averaging is AdapterAveraging(averaging)
    assert (found.lora.freeze_a, found.lora.rank, found.lora.targets) == (freeze_a, 3, ("fc1",))
    assert starts(name, here) == starts("fedavg", here)
    assert piece.plan.personal == PersonalConfig()


def test_dual_lora_has_a_local_adapter_of_the_plans_rank_or_of_the_first() -> None:
    lora = {"rank": 3}
    (piece,) = METHODS["dual_lora"].pieces(setting(finetune={"rounds": 3, "lora": lora}))
    assert piece.plan.personal == PersonalConfig(lora_rank=3)
    named = setting(finetune={"rounds": 3, "mode": "lora"}, personal={"lora_rank": 5})
    (piece,) = METHODS["dual_lora"].pieces(named)
    assert piece.plan.personal.lora_rank == 5
    (alone, *_) = METHODS["local"].pieces(named)
    assert not alone.plan.personal.lora_rank, "a site alone has one adapter, and it is its own"


def test_a_rule_without_a_plain_mean_is_refused() -> None:
    with pytest.raises(PlanError, match=r"aggregation is fedadam: the mean is exact where"):
        METHODS["fedex_lora"].pieces(setting(federation={"aggregation": "fedadam"}))
