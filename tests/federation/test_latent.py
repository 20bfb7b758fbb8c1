"""Pre-training on latent targets: a teacher of two rounds, frozen, and a student of two."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echofm_core.contract import DECODER, ENCODER, TEACHER, Weights, group_of
from echofm_core.models.build import build_autoencoder
from echofm_core.models.saved import load_weights
from echofm_core.models.weights import to_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
from server.ending import FederationResult
from server.events import Event
from server.rounds import pretrained_encoder, run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import NAMES, small_plan, with_states
from tests.federation.wiretap import Wiretap, federate, groups

KIND = "train.pretrain"


def latent_plan(federation: dict[str, Any] | None = None, **pretrain: object) -> Plan:
    """Four rounds that keep moments; fine-tuning is not asked for."""
    pretrain = {
        "rounds": 4,
        "target": "latent",
        "teacher_rounds": 2,
        "keep_optimizer": True,
        **pretrain,
    }
    return small_plan(pretrain=pretrain, finetune={"rounds": 0}, federation=federation or {})


#: Weights of the checkpoint that each round left as it ended: later rounds delete some.
Checkpoints = dict[int, Weights]
Done = tuple[Path, FederationResult, Wiretap, Checkpoints]
Whole = Callable[[dict[str, Any]], Done]


@pytest.fixture(scope="module")
def whole(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Runs from beginning to end, each once, by the plan's table of the federation."""
    found: dict[str, Done] = {}

    def run(federation: dict[str, Any]) -> Done:
        name = json.dumps(federation)
        if name not in found:
            folder, kept = tmp_path_factory.mktemp("whole"), Checkpoints()

            def read(event: Event) -> None:
                if event.round_done:
                    kept[event.round] = checkpoint(folder, event.round)

            plan = latent_plan(federation)
            found[name] = (folder, *federate(built_sites, plan, folder, on_event=read), kept)
        return found[name]

    return run


@pytest.fixture(scope="module")
def done(whole: Whole) -> Done:
    return whole({})


def entries(folder: Path) -> list[dict[str, Any]]:
    paths = sorted((folder / "run/journal").glob("pretrain-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def checkpoint(folder: Path, number: int) -> Weights:
    return load(folder / f"run/checkpoints/pretrain-{number:04d}.safetensors")


def group(weights: Weights, name: str) -> dict[str, np.ndarray]:
    """Arrays of a group, by their names within it."""
    return {
        full.partition(".")[2]: array for full, array in weights.items() if group_of(full) == name
    }


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(array, second[name]) for name, array in first.items()
    )


def test_the_teacher_crosses_the_wire_once(done: Done) -> None:
    """To each of three sites with the first round of the student, beside it; never back."""
    _, _, tap, _ = done
    for round_ in ("1", "2", "3", "4"):
        assert groups(tap.sent, "arrays", round_, KIND) == {ENCODER}
        teacher = {TEACHER} if round_ == "3" else set()
        assert groups(tap.sent, "frozen", round_, KIND) == teacher
    assert len([row for row in tap.sent if row[2] == "frozen"]) == len(NAMES)
    assert {group_of(name) for row in tap.returned for name in row[3]} == {ENCODER}


def test_its_bytes_are_counted(done: Done) -> None:
    """An encoder of n float32 goes down in every round, and another one in round 3."""
    size = sum(
        array.nbytes for array in pretrained_encoder(done[0] / "run", latent_plan()).values()
    )
    for entry in entries(done[0]):
        for site in entry["sites"].values():
            assert site["metrics"]["bytes_down"] == size * (2 if entry["round"] == 3 else 1)
            assert site["metrics"]["bytes_up"] == size


def test_the_teacher_is_the_encoder_of_its_last_round_and_stays_to_the_bit(done: Done) -> None:
    """Read from each checkpoint as its round ends; the student moves meanwhile."""
    found = done[3]
    assert [{group_of(name) for name in found[number]} for number in (1, 2, 3, 4)] == [
        {ENCODER},
        {ENCODER},
        {ENCODER, TEACHER},
        {ENCODER, TEACHER},
    ]
    teacher = group(found[2], ENCODER)
    assert same(group(found[3], TEACHER), teacher) and same(group(found[4], TEACHER), teacher)
    assert not same(group(found[3], ENCODER), group(found[4], ENCODER))


def test_the_student_starts_as_the_run_did(done: Done) -> None:
    """Every site is sent in round 3 what it was sent in round 1: the drawn encoder."""
    starts = done[2].starts
    drawn = to_arrays(build_autoencoder(latent_plan()), [ENCODER])
    for node in range(1, len(NAMES) + 1):
        third = starts[KIND, "3", node]
        assert third == starts[KIND, "1", node] != starts[KIND, "2", node]
        assert all(third[name].endswith(array.tobytes()) for name, array in drawn.items())


def test_the_rate_warms_up_and_falls_for_each_model(done: Done) -> None:
    """Two rounds each, of which one warms up: rounds 3 and 4 have the rates of 1 and 2."""
    rates = [entry["sites"]["alpha"]["metrics"]["learning_rate"] for entry in entries(done[0])]
    assert rates[2:] == rates[:2] and rates[0] > rates[1]


def test_what_is_handed_on_is_the_student_alone(done: Done) -> None:
    folder, result, _, _ = done
    last = checkpoint(folder, 4)
    assert {group_of(name) for name in result.weights} == {ENCODER}
    assert same(group(result.weights, ENCODER), group(last, ENCODER))
    assert digest(load_weights(folder / "run")) == result.digest
    assert digest(pretrained_encoder(folder / "run", latent_plan())) == result.digest
    assert not list((folder / "state").rglob("frozen*")), "forgotten after the last round"
    names = {path.name for path in (folder / "state").rglob("*.safetensors")}
    assert {"round-00003.safetensors", "round-00004.safetensors"} <= names
    assert "round-00002.safetensors" not in names, "decoders of pixels are gone"


#: Both phases; the encoder stays as the student is.
TUNED = small_plan(
    pretrain=latent_plan().pretrain.model_dump(mode="json"),
    finetune={"rounds": 1, "mode": "linear"},
)


@pytest.fixture(scope="module")
def tuned(
    built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FederationResult, Wiretap]:
    folder = tmp_path_factory.mktemp("tuned")
    return folder, *federate(built_sites, TUNED, folder)


def test_fine_tuning_starts_from_the_student(tuned: tuple[Path, FederationResult, Wiretap]) -> None:
    folder, result, tap = tuned
    student = group(checkpoint(folder, 4), ENCODER)
    assert same(group(result.weights, ENCODER), student)
    assert {group_of(name) for name in result.weights} & {TEACHER, DECODER} == set()
    assert TEACHER not in groups(tap.sent, "frozen", "1")


class StopHereError(Exception):
    """Stands for a kill after a round."""


def stop_after(round_: int) -> dict[str, object]:
    def stop(event: Event) -> None:
        if event.round_done and not event.replayed and event.round == round_:
            raise StopHereError

    return {"on_event": stop}


@pytest.mark.parametrize(
    ("stopped", "federation"),
    [
        (1, {}),
        (2, {}),
        (3, {}),
        (2, {"aggregation": "scaffold"}),
        (3, {"aggregation": "scaffold"}),
        (3, {"aggregation": "fedadam"}),
        (3, {"aggregation": "fedprox", "wire": "fp16"}),
    ],
)
def test_resumed_it_ends_with_the_same_bits(
    built_sites: list[SiteSettings],
    whole: Whole,
    tmp_path: Path,
    stopped: int,
    federation: dict[str, Any],
) -> None:
    """Stopped before the teacher is done, between the stages, and as the student trains."""
    plan = latent_plan(federation)
    with pytest.raises(StopHereError):
        federate(built_sites, plan, tmp_path, **stop_after(stopped))
    for path in (tmp_path / "state").rglob("frozen*"):
        path.unlink()  # a site's disk may be another by then
    result, tap = federate(built_sites, plan, tmp_path, resume=True)
    assert result.digest == whole(federation)[1].digest
    first = str(max(3, stopped + 1))
    assert groups(tap.sent, "frozen", first, KIND) == {TEACHER}
    assert len([row for row in tap.sent if row[2] == "frozen"]) == len(NAMES)


def test_without_the_newest_checkpoint_the_stage_begins_again(
    built_sites: list[SiteSettings], done: Done, tmp_path: Path
) -> None:
    """That of round 3 is damaged: the student begins again from the teacher's, round 2."""
    with pytest.raises(StopHereError):
        federate(built_sites, latent_plan(), tmp_path, **stop_after(3))
    path = tmp_path / "run/checkpoints/pretrain-0003.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result, tap = federate(built_sites, latent_plan(), tmp_path, resume=True)
    assert result.digest == done[1].digest
    assert groups(tap.sent, "frozen", "3", KIND) == {TEACHER}


def test_a_site_that_lost_the_teacher_says_so_and_gets_it_again(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """alpha's copy is damaged after round 3 of 5: it misses round 4 and counts in round 5."""
    refused: dict[int, dict[str, str]] = {}

    def harm(event: Event) -> None:
        if event.round_done:
            refused[event.round] = dict(event.refused)
            if event.round == 3:
                (kept,) = (tmp_path / "state" / "alpha").rglob("frozen*")
                data = bytearray(kept.read_bytes())
                data[-1] ^= 1
                kept.write_bytes(data)

    _, tap = federate(built_sites, latent_plan(rounds=5), tmp_path, on_event=harm)
    assert list(refused[4]) == ["alpha"] and refused[3] == refused[5] == {}
    assert "does not hold the frozen weights" in refused[4]["alpha"]
    assert len([row for row in tap.sent if row[1:3] == ("5", "frozen")]) == 1


def test_workers_change_no_bit(
    built_sites: list[SiteSettings],
    tuned: tuple[Path, FederationResult, Wiretap],
    tmp_path: Path,
) -> None:
    """Nor any metric of training or test, in either phase."""
    with Engine(2) as engine:
        grid = engine.grid(with_states(built_sites, tmp_path / "state"))
        result = run_federation(grid, TUNED, tmp_path / "run")
    assert result.digest == tuned[1].digest
    ours, theirs = (
        metrics[~metrics["metric"].str.contains("seconds")]
        for metrics in (tuned[1].metrics, result.metrics)
    )
    pd.testing.assert_frame_equal(ours, theirs)


def test_a_rule_forgets_the_teacher(whole: Whole) -> None:
    """SCAFFOLD counts control variates from none again, and sends none with round 3."""
    tap = whole({"aggregation": "scaffold"})[2]
    counted = {
        number: {settings["control_round"] for settings in tap.numbers[KIND, str(number)]}
        for number in (1, 2, 3, 4)
    }
    assert counted == {1: {0}, 2: {1}, 3: {0}, 4: {3}}
    for number in (1, 3):
        assert groups(tap.sent, "extra", str(number), KIND) == set()


def test_a_shared_decoder_is_another_one_for_the_student(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Of patches of 2 x 16 x 16 = 512 pixels, then of 128 features; both from the plan's seed."""
    result, tap = federate(built_sites, latent_plan(share_decoder=True), tmp_path)
    last = checkpoint(tmp_path, 4)
    assert last["decoder.predict.weight"].shape == (128, 64)
    for round_, outputs in (("2", 512), ("3", 128)):
        weights = tap.starts[KIND, round_, 1]["decoder.predict.weight"]
        assert 4 * 64 * outputs < len(weights) < 4 * 64 * outputs + 200
    assert {group_of(name) for name in last} == {ENCODER, DECODER, TEACHER}
    assert {group_of(name) for name in result.weights} == {ENCODER}


def test_a_private_plan_trains_and_reports_no_loss(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """A teacher came of noised updates, as any other weights that are sent."""
    plan = small_plan(
        pretrain={"rounds": 2, "target": "latent", "teacher_rounds": 1},
        finetune={"rounds": 0},
        privacy={"kind": "local", "noise_multiplier": 1.0, "delta": 1e-2, "secure": False},
    )
    result, _ = federate(built_sites, plan, tmp_path)
    assert {"loss", "validation"} & set(result.metrics["metric"]) == set()
    epsilon = [entry["sites"]["alpha"]["metrics"]["epsilon"] for entry in entries(tmp_path)]
    assert 0 < epsilon[0] < epsilon[1]
