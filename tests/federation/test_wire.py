"""What one side writes, the other reads: the two thin wires against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from client import wire as client
from echofm_core.contract import (
    SCHEMA_VERSION,
    Action,
    Instruction,
    Phase,
    Record,
    Score,
    SiteDescription,
    SiteResult,
    Update,
)
from echofm_core.data.formats.bfloat16 import to_bfloat16
from echofm_core.plan.federation import Wire
from echofm_core.post_processing import Quantise
from echofm_core.runtime.checksum import checksum, digest
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from server import wire as server
from server.wire import split_frozen
from simulations.flower_private import become_server, deliver

WEIGHTS = {
    "encoder.w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "heads.ef.scale": np.array(0.1, np.float32),
}


def instruction(**changes: Any) -> Instruction:
    values = {
        "action": Action.PRETRAIN,
        "round": 3,
        "plan": "{}",
        "plan_hash": "h",
        "run": "r",
        "settings": {"proximal_mu": 0.5},
    }
    return Instruction(**{**values, **changes})


def sent(precision: Wire = Wire.FP32) -> Message:
    become_server()
    model = server.wired(dict(WEIGHTS), (Quantise(precision),))
    return deliver(server.to_message(instruction(), model.record, 5, 60.0), "m1")


@pytest.mark.parametrize(("precision", "dtype"), [(Wire.FP32, "f4"), (Wire.FP16, "f2")])
def test_an_instruction_arrives_whole(precision: Wire, dtype: str) -> None:
    read = client.to_instruction(sent(precision))
    assert (read.action, read.round, read.plan, read.plan_hash, read.run) == (
        Action.PRETRAIN,
        3,
        "{}",
        "h",
        "r",
    )
    assert read.settings == {"proximal_mu": 0.5}
    for name, array in WEIGHTS.items():
        assert read.weights[name].shape == array.shape
        np.testing.assert_array_equal(read.weights[name], array.astype(dtype))


def test_bfloat16_travels_as_its_bits_and_says_so() -> None:
    message = sent(Wire.BF16)
    for array in message.content[Record.ARRAYS].values():
        assert (array.dtype, array.stype) == ("bfloat16", "numpy.ndarray")
    read = client.to_instruction(message)
    for name, array in WEIGHTS.items():
        assert read.weights[name].dtype == np.uint16
        np.testing.assert_array_equal(read.weights[name], to_bfloat16(array))


def test_frozen_weights_travel_beside_the_others() -> None:
    become_server()
    frozen, rest = split_frozen(WEIGHTS, {"encoder"}, ())
    asked = instruction(frozen_digest=frozen.digest)
    record = server.wired(dict(rest), ()).record
    read = {}
    for site in ("new", "old"):
        frozen.record_reply("old", counted=True)
        message = server.to_message(asked, record, 5, 60.0, frozen.record_for(site))
        read[site] = client.to_instruction(deliver(message, site))
    assert list(read["new"].weights) == list(read["old"].weights) == ["heads.ef.scale"]
    assert list(read["new"].frozen) == ["encoder.w"] and read["old"].frozen == {}
    assert digest(read["new"].frozen) == read["old"].frozen_digest == frozen.digest
    frozen.record_reply("old", counted=False)
    assert frozen.record_for("old") is not None


@pytest.mark.parametrize("precision", list(Wire))
def test_an_update_arrives_whole(precision: Wire) -> None:
    message = sent(precision)
    made = client.make_update(
        site="a",
        instruction=client.to_instruction(message),
        weights=Quantise(precision).from_site(WEIGHTS, {}),
        counts={"encoder": 4, "heads.ef": 2},
        metrics={"loss": 0.25},
    )
    read = server.read_reply(client.to_reply(made, message), Update)
    assert (read.site, read.phase, read.round, read.plan_hash) == ("a", Phase.PRETRAIN, 3, "h")
    assert read.counts == {"encoder": 4, "heads.ef": 2}
    assert read.metrics == {"loss": 0.25, "num-examples": 4.0}
    assert read.checksum == made.checksum == checksum(read.weights)
    for name, array in made.weights.items():
        np.testing.assert_array_equal(read.weights[name], array)


def test_half_precision_halves_the_bytes() -> None:
    big = {"encoder.w": np.zeros(10_000, np.float32)}
    sizes = {
        precision: server.wired(dict(big), (Quantise(precision),)).record.count_bytes()
        for precision in Wire
    }
    assert sizes[Wire.FP16] / sizes[Wire.FP32] == pytest.approx(0.5, abs=0.01)
    assert sizes[Wire.BF16] == sizes[Wire.FP16]


def test_one_copy_of_a_model_serves_message_and_sum() -> None:
    model = server.wired(dict(WEIGHTS), ())
    data = model.record["encoder.w"].data
    assert model.current is model.sent
    assert np.shares_memory(model.current["encoder.w"], np.frombuffer(data, np.uint8))


def test_descriptions_and_results_arrive_whole() -> None:
    message = sent()
    about = SiteDescription(
        site="a",
        train_clips=5,
        train_patients=4,
        labels={"ef": 3},
        test_labels={},
        quarantined=1,
    )
    assert server.read_reply(client.to_reply(about, message), SiteDescription) == about
    scores = {"federated_minus_no_network/ef/mae": Score(value=5.5, low=4.0, high=7.0, p=0.02)}
    result = SiteResult(site="a", plan_hash="h", digest="d", patients={"ef": 9}, scores=scores)
    assert server.read_reply(client.to_reply(result, message), SiteResult) == result


def _broken(change: str) -> Message:
    message = sent()
    made = client.make_update(
        site="a",
        instruction=client.to_instruction(message),
        weights=WEIGHTS,
        counts={"encoder": 4},
        metrics={},
    )
    reply = client.to_reply(made, message)
    config = reply.content["config"]
    match change:
        case "no arrays":
            del reply.content["arrays"]
        case "no config":
            del reply.content["config"]
        case "schema":
            config["schema"] = 99
        case "phase":
            config["phase"] = "sleep"
        case "counts":
            config["counts-values"] = [1, 2]
        case "fraction":
            config["counts-values"] = [0.5]
        case "no round":
            del config["round"]
        case "bytes":
            array = reply.content["arrays"]["encoder.w"]
            array.data = array.data[:-1]
        case "pickle":
            reply.content["arrays"]["encoder.w"].data = b"\x80\x04pickle"
    return reply


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("no arrays", "lacks the records `arrays` and `metrics`"),
        ("no config", "lacks the record `config`"),
        ("schema", f"speaks schema 99, the server {SCHEMA_VERSION}"),
        ("phase", "'sleep' is not a valid Phase"),
        ("counts", "do not pair"),
        ("fraction", "expected a whole number, got float"),
        ("no round", "no 'round'"),
        ("bytes", "takes 152 bytes, found 151"),
        ("pickle", "not an .npy array"),
    ],
)
def test_a_malformed_reply_is_refused_with_one_sentence(change: str, sentence: str) -> None:
    with pytest.raises(RefusedUpdateError, match=sentence):
        server.read_reply(_broken(change), Update)


def test_a_site_refuses_a_server_of_another_schema() -> None:
    message = sent()
    message.content["config"]["schema"] = 1
    with pytest.raises(
        FederationError, match=f"the server speaks schema 1, this site {SCHEMA_VERSION}"
    ):
        client.to_instruction(message)
    message.content["config"]["schema"] = SCHEMA_VERSION
    del message.content["config"]["run"]
    with pytest.raises(FederationError, match="malformed"):
        client.to_instruction(message)


def result_reply(config: dict[str, Any], metrics: dict[str, Any]) -> Message:
    good = {"schema": SCHEMA_VERSION, "site": "a", "plan-hash": "h", "digest": "d"}
    good |= dict.fromkeys(("audit-head", "ledger-head", "policy-hash", "approval-hash"), "")
    counts = {"patients-names": ["ef"], "patients-values": [2]}
    record = ConfigRecord({**good, **counts, **config})
    name = "federated/ef/mae"
    score = {name: 5.0, f"{name}/low": 4.0, f"{name}/high": 6.0, f"{name}/p": float("nan")}
    numbers = MetricRecord({**score, **metrics})
    return Message(RecordDict({"config": record, "metrics": numbers}), reply_to=sent())


@pytest.mark.parametrize(
    ("config", "metrics", "sentence"),
    [
        # A list could be a prediction of each patient.
        ({}, {"predictions": [1.0, 2.0]}, "predictions is a list, expected one number"),
        ({}, {f"ef/m{number}": 1.0 for number in range(10_000)}, "holds 10004 numbers, at most"),
        ({}, {"<b>": 2.0}, "'<b>' is no name of a metric"),
        ({}, {"x" * 65: 2.0}, "is no name of a metric"),
        ({}, {"federated/ef/r2": 0.5}, "do not come as value, low, high and p"),
        ({}, {"a/low": 0.1, "a/high": 0.5, "a/p": 0.5, "b": 0.5}, "no 'b/low'"),
        ({"patients-values": [0.5]}, {}, "expected a whole number, got float"),
        ({"patients-names": ["ef"] * 10_001, "patients-values": [1] * 10_001}, {}, "holds 10001"),
    ],
)
def test_a_malformed_result_is_refused_with_one_sentence(
    config: dict[str, Any], metrics: dict[str, Any], sentence: str
) -> None:
    assert server.read_reply(result_reply({}, {}), SiteResult).patients == {"ef": 2}
    with pytest.raises(RefusedUpdateError, match=sentence):
        server.read_reply(result_reply(config, metrics), SiteResult)


def test_what_a_site_says_is_one_short_line() -> None:
    words = "site is '" + "n" * 1_000_000 + "'"
    assert len(server.sentence(words)) == server.LONGEST_REASON + 4
    assert server.sentence("x\n2026 INFO site north\t\x1b[31m approved") == (
        "x 2026 INFO site north ?[31m approved"
    )
