"""Fine-tuning that leaves the encoder as it is: its weights cross the wire once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echofm_core.contract import ENCODER, HEADS, LORA_A, LORA_B, STF_NET, group_of
from echofm_core.models.build import build_tuned_model
from echofm_core.models.lora import merged
from echofm_core.models.saved import load_model
from echofm_core.models.weights import to_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
from echofm_core.tasks import Task
from server.ending import FederationResult
from server.events import Event
from server.rounds import pretrained_encoder
from simulations.engine import SiteSettings
from tests.federation.small import NAMES, small_plan
from tests.federation.wiretap import Wiretap, federate, groups


def lora_plan(mode: str = "lora", wire: str = "fp32", **finetune: object) -> Plan:
    finetune = {"rounds": 3, "mode": mode, "lora": {"rank": 4}, **finetune}
    return small_plan(pretrain={"rounds": 1}, finetune=finetune, federation={"wire": wire})


@pytest.fixture(scope="module")
def done(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FederationResult, Wiretap]:
    folder = tmp_path_factory.mktemp("light")
    return folder, *federate(built_sites, lora_plan(), folder)


Done = tuple[Path, FederationResult, Wiretap]


def test_the_encoder_crosses_the_wire_once(done: Done) -> None:
    """To each of three sites with round 1, in a record of its own; never back."""
    _, _, tap = done
    light = {
        LORA_A,
        LORA_B,
        STF_NET,
        *(f"{HEADS}.{task}" for task in ("ef", "reduced_ef", "as_grade")),
    }
    for round_ in ("1", "2", "3"):
        assert groups(tap.sent, "arrays", round_) == light
        assert groups(tap.sent, "frozen", round_) == ({ENCODER} if round_ == "1" else set())
    assert len([row for row in tap.sent if row[2] == "frozen"]) == len(NAMES)
    back = {group_of(name) for row in tap.returned if row[0] == "train.finetune" for name in row[3]}
    assert back == light


def test_bytes_are_those_of_what_still_moves(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Counted on the wire: arrays of float32, and at most 200 bytes an array beside them."""
    _, full = federate(built_sites, lora_plan("full"), tmp_path)
    arrays = to_arrays(build_tuned_model(lora_plan()), [ENCODER, LORA_A, LORA_B, STF_NET, HEADS])
    light = {name: array for name, array in arrays.items() if group_of(name) != ENCODER}
    whole = {
        name: array for name, array in arrays.items() if group_of(name) not in (LORA_A, LORA_B)
    }
    for tap, expected in ((done[2], light), (full, whole)):
        found = {row[4] for row in tap.sent if row[:3] == ("train.finetune", "3", "arrays")}
        least = sum(array.nbytes for array in expected.values())
        assert len(found) == 1 and least < found.pop() < least + 200 * len(expected)
    up = [
        sum(row[4] for row in tap.returned if row[0] == "train.finetune") for tap in (done[2], full)
    ]
    assert up[0] < 0.6 * up[1]


def test_all_sites_begin_with_the_same_adapters(done: Done) -> None:
    """Those of the plan's seed; B is zero."""
    starts = done[2].starts
    first = {node: starts["train.finetune", "1", node] for node in range(1, len(NAMES) + 1)}
    assert first[1] == first[2] == first[3]
    drawn = to_arrays(build_tuned_model(lora_plan()), [LORA_A, LORA_B])
    for name, array in drawn.items():
        assert first[1][name].endswith(array.tobytes())
        assert array.any() == (group_of(name) == LORA_A)


def test_the_encoder_stays_and_the_model_is_merged(done: Done) -> None:
    """Every checkpoint holds the pre-trained encoder to the bit; the model file a plain one."""
    folder, result, _ = done
    encoder = pretrained_encoder(folder / "run", lora_plan())
    last = load(folder / "run" / "checkpoints" / "finetune-0003.safetensors")
    assert all(np.array_equal(last[name], array) for name, array in encoder.items())
    saved = load_model(folder / "run")
    assert saved.digest == result.digest == digest(merged(last, lora_plan().finetune.lora))
    changed = {
        name for name, array in encoder.items() if not np.array_equal(result.weights[name], array)
    }
    assert changed == {
        f"encoder.blocks.{block}.attn.{layer}.weight"
        for block in range(4)
        for layer in ("qkv", "proj")
    }
    assert {group_of(name) for name in result.weights} & {LORA_A, LORA_B} == set()
    assert Task.EF in saved.tasks and [entry.site for entry in result.site_results] == list(NAMES)
    assert not list((folder / "state").rglob("frozen*")), "forgotten after the last round"


class StopHereError(Exception):
    """Stands for a kill after a round."""


def stop_after(round_: int) -> dict[str, object]:
    def stop(event: Event) -> None:
        if event.round_done and (event.phase, event.round) == ("finetune", round_):
            raise StopHereError

    return {"on_event": stop}


def test_resumed_it_ends_with_the_same_bits_and_sends_the_encoder_again(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    with pytest.raises(StopHereError):
        federate(built_sites, lora_plan(), tmp_path, **stop_after(1))
    for path in (tmp_path / "state").rglob("frozen*"):
        path.unlink()  # a site's disk may be another by then
    result, tap = federate(built_sites, lora_plan(), tmp_path, resume=True)
    assert result.digest == done[1].digest
    assert groups(tap.sent, "frozen", "2") == {ENCODER} and not groups(tap.sent, "frozen", "3")


def test_a_site_that_lost_them_says_so_and_gets_them_again(
    done: Done, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """alpha's copy is damaged after round 1: it misses round 2 and counts in round 3."""
    refused: dict[int, dict[str, str]] = {}

    def harm(event: Event) -> None:
        if event.round_done and event.phase == "finetune":
            refused[event.round] = dict(event.refused)
            if event.round == 1:
                (kept,) = (tmp_path / "state" / "alpha").rglob("frozen*")
                data = bytearray(kept.read_bytes())
                data[-1] ^= 1
                kept.write_bytes(data)

    _, tap = federate(built_sites, lora_plan(), tmp_path, on_event=harm)
    assert refused[1] == refused[3] == {} and list(refused[2]) == ["alpha"]
    assert "does not hold the frozen weights" in refused[2]["alpha"]
    assert len([row for row in tap.sent if row[1:3] == ("3", "frozen")]) == 1


@pytest.mark.parametrize(
    ("plan", "frozen"),
    [
        (lora_plan(rounds=2, lora={"rank": 4, "freeze_a": True}, wire="fp16"), {ENCODER, LORA_A}),
        (lora_plan("linear", rounds=2), {ENCODER, STF_NET}),
        (lora_plan("stf_probe", rounds=2, batch_size=4), {ENCODER}),
    ],
    ids=["freeze_a", "linear", "stf_probe"],
)
def test_whatever_is_frozen_travels_once(
    built_sites: list[SiteSettings], tmp_path: Path, plan: Plan, frozen: set[str]
) -> None:
    result, tap = federate(built_sites[:2], plan, tmp_path)
    assert groups(tap.sent, "frozen", "1") == frozen and not groups(tap.sent, "frozen", "2")
    moving = {f"{HEADS}.{task}" for task in ("ef", "reduced_ef", "as_grade")}
    moving |= {STF_NET, LORA_B} - frozen if plan.finetune.mode == "lora" else {STF_NET} - frozen
    assert groups(tap.sent, "arrays", "2") == moving
    if LORA_A in frozen:
        last = load(tmp_path / "run" / "checkpoints" / "finetune-0002.safetensors")
        drawn = to_arrays(build_tuned_model(plan), [LORA_A])
        assert all(np.array_equal(last[name], array) for name, array in drawn.items())
    assert all(np.isfinite(array).all() for array in result.weights.values())


def test_adapters_on_a_drawn_encoder_are_warned_of(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = small_plan(pretrain={"rounds": 0}, finetune={"rounds": 1, "mode": "lora"})
    with pytest.warns(RuntimeWarning, match="adapters on it learn little"):
        federate(built_sites[:1], plan, tmp_path)
