"""A federation in which each site has a local adapter beside the federated one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.state import Own, SiteState
from echofm_core.contract import HEADS, LORA_A, LORA_B, STF_NET, Weights, group_of
from echofm_core.models.build import build_tuned_model
from echofm_core.models.local_names import local_names
from echofm_core.models.saved import load_model
from echofm_core.models.weights import all_arrays, named_weights
from echofm_core.plan.document import Plan
from server.ending import FederationResult
from simulations.engine import SiteSettings
from tests.federation.small import NAMES, small_plan
from tests.federation.test_light import StopHereError, stop_after
from tests.federation.wiretap import Wiretap, federate, groups

Done = tuple[Path, FederationResult, Wiretap]


def dual_plan(averaging: str = "separate") -> Plan:
    """Local adapters of rank 2 beside federated ones of rank 4, scaled by 8 and by 4."""
    lora = {"rank": 4, "averaging": averaging}
    finetune = {"rounds": 2, "mode": "lora", "lora": lora, "learning_rate": 0.02}
    return small_plan(pretrain={"rounds": 0}, finetune=finetune, personal={"lora_rank": 2})


PLAN = dual_plan()
pytestmark = pytest.mark.filterwarnings("ignore:.*adapters on it learn little")


@pytest.fixture(scope="module")
def done(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("dual")
    return folder, *federate(built_sites, PLAN, folder)


def own(folder: Path, site: str, plan: Plan = PLAN) -> Weights:
    """What a site keeps after the last round."""
    return SiteState(folder / "state" / site, plan.run_name()).own(Own.LOCAL, 3)


def test_local_adapters_never_leave_a_site(done: Done) -> None:
    """What they begin with is sent once, and is the same at all sites: drawn A, and B of zeros."""
    _, result, tap = done
    local = {group_of(name) for name in local_names(PLAN)}
    heads = {f"{HEADS}.{task}" for task in ("ef", "reduced_ef", "as_grade")}
    back = {group_of(name) for row in tap.returned if row[0] == "train.finetune" for name in row[3]}
    assert back == groups(tap.sent, "arrays", "2") == {LORA_A, LORA_B, STF_NET} | heads
    assert local <= groups(tap.sent, "frozen", "1") and not groups(tap.sent, "frozen", "2")
    assert not local & {group_of(name) for name in result.weights}


def test_each_site_trains_its_own(done: Done) -> None:
    found = [own(done[0], name) for name in NAMES]
    for adapters in found:
        assert adapters.keys() == local_names(PLAN)
        assert all(array.any() for array in adapters.values())
    name = "local_lora_b.blocks.0.attn.qkv.weight"
    assert len({adapters[name].tobytes() for adapters in found}) == len(NAMES)


def test_a_site_is_tested_with_both_and_others_have_the_federated_one(done: Done) -> None:
    """Merged in float64 from the shipped encoder and what alpha kept; it predicts with that."""
    folder, result, _ = done
    kept = own(folder, "alpha")
    state = SiteState(folder / "state" / "alpha", PLAN.run_name())
    saved = all_arrays(load_model(state.folder).model)
    assert saved.keys() == result.weights.keys()
    for name, array in result.weights.items():
        layer = name.removeprefix("encoder.")
        expected = array.astype(np.float64)
        if (b := f"local_lora_b.{layer}") in kept:
            change = 8 * kept[b].astype(np.float64) @ kept[f"local_lora_a.{layer}"]
            assert np.abs(change).max() > 1e-4
            expected += change
        np.testing.assert_allclose(saved[name], expected, rtol=0, atol=1e-6)


def test_resumed_it_ends_with_the_same_bits_and_local_adapters(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    with pytest.raises(StopHereError):
        federate(built_sites, PLAN, tmp_path, **stop_after(1))
    result, _ = federate(built_sites, PLAN, tmp_path, resume=True)
    assert result.digest == done[1].digest
    for site in NAMES:
        again, first = own(tmp_path, site), own(done[0], site)
        assert all(np.array_equal(again[name], array) for name, array in first.items())


def test_with_exact_averaging_no_layer_takes_up_what_is_local(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """The layers that are sent again are those of the encoder, by the federated adapters alone."""
    plan = dual_plan("exact")
    result, tap = federate(built_sites, plan, tmp_path)
    (names,) = {row[3] for row in tap.sent if row[2] == "extra"}
    assert {group_of(name) for name in names} == {"encoder"} and len(names) == 8
    assert all(np.isfinite(array).all() for array in result.weights.values())
    trained = named_weights(build_tuned_model(plan)).keys() - local_names(plan)
    assert result.weights.keys() == {it for it in trained if not it.startswith("lora_")}
