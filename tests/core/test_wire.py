"""The codec of the wire without Flower: what goes in comes out, and nothing else is read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from echofm_core.contract import (
    SCHEMA_VERSION,
    Action,
    Instruction,
    Phase,
    Score,
    SiteDescription,
    SiteResult,
    Update,
)
from echofm_core.runtime.errors import FederationError, RefusedUpdateError
from echofm_core.wire import Content, decode, encode

ONE = {"encoder.w": np.ones(3, np.float32)}
INSTRUCTION = Instruction(
    action=Action.FINETUNE,
    round=2,
    plan="{}",
    plan_hash="h",
    run="r",
    weights=ONE,
    frozen={"stf_net.w": np.zeros(2, np.float32)},
    frozen_digest="f",
    extra={"control/encoder.w": np.full(3, 0.5, np.float32)},
    settings={"proximal_mu": 0.5},
)
UPDATE = Update(
    site="a",
    phase=Phase.FINETUNE,
    round=2,
    plan_hash="h",
    weights=ONE,
    counts={"encoder": 4},
    metrics={"loss": 0.25},
    checksum=7,
    extra={"control/encoder.w": np.full(3, -0.5, np.float32)},
    numbers={"steps": 12.0},
)
DESCRIPTION = SiteDescription(
    site="a", train_clips=5, train_patients=4, labels={"ef": 3}, test_labels={}, quarantined=1
)
RESULT = SiteResult(
    site="a",
    plan_hash="h",
    digest="d",
    patients={"ef": 9},
    scores={"federated/ef/mae": Score(value=5.5, low=4.0, high=7.0, p=0.5)},
)


@pytest.mark.parametrize("record", [INSTRUCTION, UPDATE, DESCRIPTION, RESULT])
def test_every_field_arrives_as_it_was(record: Any) -> None:
    given = {"action": record.action} if isinstance(record, Instruction) else {}
    read = decode(encode(record), type(record), **given)
    for item in fields(record):
        np.testing.assert_equal(getattr(read, item.name), getattr(record, item.name))


def test_an_algorithm_without_arrays_adds_no_record() -> None:
    plain = encode(replace(UPDATE, extra={}, numbers={}))
    assert list(plain.arrays) == ["arrays"]
    assert decode(plain, Update).extra == {} and decode(plain, Update).numbers == {}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("site", 3, "expected a text as site, got int"),
        ("round", True, "expected a whole number, got bool"),
        ("round", 1.0, "expected a whole number, got float"),
        ("phase", "sleep", "'sleep' is not a valid Phase"),
        ("counts-names", ["encoder", "encoder"], "do not pair"),
        ("numbers-names", ["a b"], "'a b' is no name"),
        ("numbers-values", ["12"], "steps is a str, expected one number"),
        ("schema", SCHEMA_VERSION + 1, f"the site speaks schema {SCHEMA_VERSION + 1}"),
    ],
)
def test_what_is_not_of_its_type_is_refused(key: str, value: object, sentence: str) -> None:
    content = encode(UPDATE)
    content.config[key] = value
    with pytest.raises(RefusedUpdateError, match=sentence):
        decode(content, Update)


@pytest.mark.parametrize("key", [key for key in encode(UPDATE).config if key != "schema"])
def test_a_missing_key_is_named(key: str) -> None:
    content = encode(UPDATE)
    del content.config[key]
    with pytest.raises(RefusedUpdateError, match=f"the reply is malformed: no '{key}'"):
        decode(content, Update)


def test_a_name_that_stands_twice_is_refused() -> None:
    content = encode(UPDATE)
    content.config |= {"counts-names": ["encoder", "encoder"], "counts-values": [4, 4000]}
    with pytest.raises(RefusedUpdateError, match="`counts-names` holds a name twice"):
        decode(content, Update)


def test_a_site_says_that_the_instruction_is_at_fault() -> None:
    with pytest.raises(FederationError, match="the instruction lacks the record `config`"):
        decode(Content(), Instruction, action=Action.PRETRAIN)
