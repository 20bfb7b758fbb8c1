"""A federation whose adapters are averaged exactly, held against what its sites sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import ENCODER, HEADS, LORA_A, LORA_B, STF_NET, Weights, group_of
from echofm_core.data.formats.npy import unpack
from echofm_core.models.lora import merged
from echofm_core.models.saved import load_model
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
from server.ending import FederationResult
from server.rounds import pretrained_encoder
from simulations.engine import SiteSettings
from tests.federation.small import NAMES, small_plan
from tests.federation.test_light import StopHereError, stop_after
from tests.federation.wiretap import Wiretap, federate, groups

LAYERS = [f"blocks.{block}.attn.{layer}.weight" for block in range(4) for layer in ("qkv", "proj")]
BASE = {f"base/{ENCODER}.{layer}" for layer in LAYERS}
SCALE = 16 / 4


def exact_plan(averaging: str = "exact", **federation: object) -> Plan:
    """A high rate, so that adapters move far enough in three steps to differ beyond rounding."""
    lora = {"rank": 4, "averaging": averaging}
    finetune = {"rounds": 3, "mode": "lora", "lora": lora, "learning_rate": 0.02}
    table = {"trunk_weights": "equal", **federation}
    return small_plan(pretrain={"rounds": 1}, finetune=finetune, federation=table)


Done = tuple[Path, FederationResult, Wiretap]


@pytest.fixture(scope="module")
def done(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("exact")
    return folder, *federate(built_sites, exact_plan(), folder)


def checkpoint(folder: Path, round_: int) -> Weights:
    return load(folder / "run" / "checkpoints" / f"finetune-{round_:04d}.safetensors")


def arrays(found: dict[str, bytes]) -> dict[str, np.ndarray]:
    return {name: unpack(data).astype(np.float64) for name, data in found.items()}


def test_only_layers_below_adapters_are_sent_again_and_none_comes_back(done: Done) -> None:
    """The rest of the encoder is sent once, as without exact averaging."""
    _, _, tap = done
    for round_ in ("1", "2", "3"):
        rows = [row for row in tap.sent if row[:3] == ("train.finetune", round_, "extra")]
        assert [row[3] for row in rows] == [BASE] * len(NAMES)
    rows = [row for row in tap.sent if row[2] == "frozen"]
    assert [row[1] for row in rows] == ["1"] * len(NAMES)
    assert all(group_of(name) == ENCODER for row in rows for name in row[3])
    assert not {f"base/{name}" for name in rows[0][3]} & BASE
    heads = {f"{HEADS}.{task}" for task in ("ef", "reduced_ef", "as_grade")}
    back = {group_of(name) for row in tap.returned if row[0] == "train.finetune" for name in row[3]}
    assert back == groups(tap.sent, "arrays", "2") == {LORA_A, LORA_B, STF_NET} | heads


@pytest.mark.parametrize("round_", [2, 3])
def test_after_a_round_the_encoder_is_the_mean_of_the_sites(done: Done, round_: int) -> None:
    """In float64, of what three sites that count alike were sent and sent; biased it is not."""
    folder, _, tap = done
    keys = [("train.finetune", str(round_), node) for node in range(1, len(NAMES) + 1)]
    sites, after = [arrays(tap.ends[key]) for key in keys], checkpoint(folder, round_)
    before = arrays(tap.beside[keys[0]])
    gap = missed = 0.0
    for layer in LAYERS:
        a, b = f"{LORA_A}.{layer}", f"{LORA_B}.{layer}"
        w = before[f"base/{ENCODER}.{layer}"]
        expected = np.mean([w + SCALE * site[b] @ site[a] for site in sites], axis=0)
        product = SCALE * after[b].astype(np.float64) @ after[a].astype(np.float64)
        gap = max(gap, np.abs(after[f"{ENCODER}.{layer}"] + product - expected).max())
        missed = max(missed, np.abs(w + product - expected).max())
    assert gap < 1e-6
    assert missed > 1e-4


def test_what_the_layers_took_up_is_in_the_shipped_model(done: Done) -> None:
    """Merged from the last checkpoint, whose other encoder weights are those of pre-training."""
    folder, result, _ = done
    last = checkpoint(folder, 3)
    assert load_model(folder / "run").digest == result.digest
    assert result.digest == digest(merged(last, exact_plan().finetune.lora))
    encoder = pretrained_encoder(folder / "run", exact_plan())
    changed = {name for name, array in encoder.items() if not np.array_equal(last[name], array)}
    assert changed == {f"{ENCODER}.{layer}" for layer in LAYERS}


@pytest.mark.parametrize("round_", [1, 2])
def test_resumed_it_ends_with_the_same_bits(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path, round_: int
) -> None:
    with pytest.raises(StopHereError):
        federate(built_sites, exact_plan(), tmp_path, **stop_after(round_))
    for path in (tmp_path / "state").rglob("frozen*"):
        path.unlink()  # a site's disk may be another by then
    result, _ = federate(built_sites, exact_plan(), tmp_path, resume=True)
    assert result.digest == done[1].digest


def test_it_is_another_model_than_with_separate_means(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """From round 2 on: in round 1 all sites start from the same adapters, whose B is zero."""
    separate, _ = federate(built_sites, exact_plan("separate"), tmp_path)
    assert separate.digest != done[1].digest
    one, other = checkpoint(tmp_path, 2), checkpoint(done[0], 2)
    assert not np.array_equal(one[f"{LORA_B}.{LAYERS[0]}"], other[f"{LORA_B}.{LAYERS[0]}"])


def test_in_half_precision_and_with_fedprox(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Layers travel in the wire's type; the server's own stay in float32."""
    plan = exact_plan(wire="fp16", aggregation="fedprox")
    result, tap = federate(built_sites, plan, tmp_path)
    sent = {unpack(data).dtype for data in tap.beside["train.finetune", "2", 1].values()}
    assert sent == {np.dtype(np.float16)}
    assert all(np.isfinite(array).all() for array in result.weights.values())
    name = f"{ENCODER}.{LAYERS[0]}"
    kept = checkpoint(tmp_path, 3)[name]
    assert kept.dtype == np.float32 and not np.array_equal(kept, kept.astype(np.float16))
