from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from echofm_core.contract import Phase, Update
from echofm_core.runtime.checksum import checksum
from echofm_core.runtime.errors import DivergedError, RefusedUpdateError
from server.admission import Expected, admit, check_values, distance

SENT = {
    "encoder.w": np.zeros((2, 3), np.float32),
    "encoder.b": np.zeros(3, np.float32),
    "heads.ef.w": np.zeros(3, np.float32),
}
EXPECTED = Expected(
    site="a",
    phase=Phase.FINETUNE,
    round=2,
    plan_hash="p" * 64,
    sent=SENT,
    most={"encoder": 9, "heads.ef": 4},
)


def update(**changes: object) -> Update:
    weights = {name: array + np.float32(1) for name, array in SENT.items()}
    weights |= changes.pop("weights", {})  # type: ignore[call-overload]
    for name in changes.pop("without", ()):  # type: ignore[call-overload]
        del weights[name]
    good = Update(
        site="a",
        phase=Phase.FINETUNE,
        round=2,
        plan_hash="p" * 64,
        weights=weights,
        counts={"encoder": 9, "heads.ef": 4},
        metrics={},
        checksum=checksum(weights),
    )
    return replace(good, **changes)  # type: ignore[arg-type]


def test_a_good_update_is_admitted() -> None:
    admit(update(), EXPECTED)


def test_a_group_without_clips_may_be_absent() -> None:
    admit(update(without=["heads.ef.w"], counts={"encoder": 9}), EXPECTED)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"site": "b"}, "site is 'b', expected 'a'"),
        ({"phase": Phase.PRETRAIN}, "phase is 'pretrain', expected 'finetune'"),
        ({"round": 1}, "round is 1, expected 2"),
        ({"plan_hash": "q" * 64}, "plan hash is"),
        ({"plan_hash": "p" * 63 + "q"}, "plan hash differs"),
        ({"audit_head": "Doe^John"}, "head of its audit is 'Doe"),
        ({"ledger_head": "0" * 65}, "head of its ledger is '0"),
        ({"policy_hash": "min_patients = 1"}, "hash of its policy is 'min"),
        ({"approval_hash": "F" * 64}, "hash of its approval is 'F"),
        ({"counts": {}}, "no parameter group"),
        ({"counts": {"encoder": 0, "heads.ef": 4}}, "count of encoder is 0"),
        ({"counts": {"encoder": -1, "heads.ef": 4}}, "count of encoder is -1"),
        ({"counts": {"encoder": 10, "heads.ef": 4}}, "is 10, but the site described 9"),
        ({"counts": {"encoder": 9, "heads.ef": 4, "heads.av": 1}}, "heads.av was not part"),
        ({"without": ["encoder.b"]}, "array encoder.b is missing"),
        ({"counts": {"encoder": 9}}, "array heads.ef.w was not asked for"),
        ({"weights": {"encoder.x": np.ones(1, np.float32)}}, "encoder.x was not asked for"),
        ({"weights": {"encoder.b": np.ones(1, np.float32)}}, r"shape \(1,\), expected \(3,\)"),
        ({"weights": {"encoder.b": np.ones(3, np.float16)}}, "is float16, expected float32"),
        ({"weights": {"encoder.b": np.array([0, np.nan, 1], np.float32)}}, "not finite"),
        ({"weights": {"encoder.b": np.array([0, np.inf, 1], np.float32)}}, "not finite"),
        ({"weights": {"encoder.b": np.array([-np.inf, np.inf, 1], np.float32)}}, "not finite"),
        ({"checksum": 1}, "the site wrote 1: the update was damaged"),
    ],
)
def test_each_fault_is_refused_with_its_own_sentence(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(RefusedUpdateError, match=sentence):
        admit(update(**changes), EXPECTED)


@pytest.mark.parametrize(
    ("changes", "diverged"),
    [
        ({"weights": {"encoder.b": np.array([0, np.nan, 1], np.float32)}}, True),
        ({"weights": {"encoder.b": np.array([0, 3e38, 1], np.float32)}}, True),
        ({"metrics": {"loss": math.inf}}, True),
        ({"metrics": {"loss/ef": math.nan}}, True),
        ({"metrics": {"seconds": math.inf}}, False),
        ({"checksum": 1}, False),
        ({"round": 1}, False),
    ],
)
def test_what_diverged_is_told_from_other_faults_by_its_code(
    changes: dict[str, object], *, diverged: bool
) -> None:
    """Twelve numbers that moved by one are 3.46 away, which is more than 3.4."""
    with pytest.raises(RefusedUpdateError) as caught:
        admit(update(**changes), replace(EXPECTED, max_norm=1e30))
    code = DivergedError.exit_code if diverged else RefusedUpdateError.exit_code
    assert caught.value.cause == code
    with pytest.raises(RefusedUpdateError) as caught:
        admit(update(), replace(EXPECTED, max_norm=3.4))
    assert caught.value.cause == DivergedError.exit_code


@pytest.mark.parametrize("counts", [{"lora_a": 3, "lora_b": 2}, {"lora_b": 3}])
def test_adapters_train_as_a_whole(counts: dict[str, int]) -> None:
    """A and B of an adapter with unlike clips would be averaged by unlike weights."""
    sent = {f"{group}.w": np.zeros((2, 2), np.float32) for group in ("lora_a", "lora_b")}
    expected = replace(EXPECTED, sent=sent, most={})
    weights = {name: sent[name] + np.float32(1) for name in sent if name[:6] in counts}
    with pytest.raises(RefusedUpdateError, match="adapters train as a whole"):
        admit(
            replace(update(), weights=weights, counts=counts, checksum=checksum(weights)), expected
        )
    whole = {name: sent[name] + np.float32(1) for name in sent}
    counts = {"lora_a": 3, "lora_b": 3}
    admit(replace(update(), weights=whole, counts=counts, checksum=checksum(whole)), expected)


def test_norm_bound_counts_all_arrays_together() -> None:
    """Twelve numbers moved by one each: the norm is sqrt(12) = 3.464."""
    assert distance(update().weights, SENT) == pytest.approx(12**0.5)
    admit(update(), replace(EXPECTED, max_norm=3.47))
    with pytest.raises(RefusedUpdateError, match=r"3\.464 away .* bound is 3\.46"):
        admit(update(), replace(EXPECTED, max_norm=3.46))


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.float16]),
        arrays.array_shapes(max_dims=2, max_side=9),
        elements=st.floats(-100, 100, width=16),
    )
)
def test_the_scan_agrees_with_the_checksum(array: np.ndarray) -> None:
    weights = {"encoder.a": array, "encoder.b": array[..., :1]}
    check_values(weights, checksum(weights))


def test_the_scan_agrees_across_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.admission.CHUNK", 8)
    weights = {"encoder.a": np.random.default_rng(0).normal(size=37).astype(np.float16)}
    check_values(weights, checksum(weights))


CONTROL = {"control/encoder.w": np.zeros((2, 3), np.float32)}


def test_an_algorithms_own_arrays_and_numbers_are_admitted_by_name() -> None:
    """The checksum is over both kinds of array, as the site takes it."""
    good = update()
    own = {"control/encoder.w": np.full((2, 3), 2, np.float32)}
    told = checksum({**good.weights, **own})
    expected = replace(EXPECTED, extra=CONTROL, numbers={"steps": (1.0, 12.0)})
    admit(replace(good, extra=own, numbers={"steps": 3.0}, checksum=told), expected)


@pytest.mark.parametrize(
    ("extra", "numbers", "sentence"),
    [
        ({}, {"steps": 3.0}, "array control/encoder.w is missing"),
        ({"encoder.w": np.zeros((2, 3), np.float32)}, {"steps": 3.0}, "encoder.w was not asked"),
        ({"control/encoder.w": np.zeros(3, np.float32)}, {"steps": 3.0}, r"has shape \(3,\)"),
        ({"control/encoder.w": np.zeros((2, 3), np.float16)}, {"steps": 3.0}, "is float16"),
        ({"control/encoder.w": np.full((2, 3), np.inf, np.float32)}, {"steps": 3.0}, "not finite"),
        (CONTROL, {}, "number steps is missing"),
        (CONTROL, {"steps": float("nan")}, "number steps is nan"),
        (CONTROL, {"steps": 0.0}, "number steps is 0, legal is 1 to 12"),
        (CONTROL, {"steps": 12.5}, "number steps is 12.5, legal is 1 to 12"),
        (CONTROL, {"steps": 3.0, "age": 80.0}, "number age was not asked for"),
    ],
)
def test_an_algorithms_own_arrays_are_checked_like_weights(
    extra: dict[str, np.ndarray], numbers: dict[str, float], sentence: str
) -> None:
    good = update()
    told = checksum({**good.weights, **extra})
    with pytest.raises(RefusedUpdateError, match=sentence):
        admit(
            replace(good, extra=extra, numbers=numbers, checksum=told),
            replace(EXPECTED, extra=CONTROL, numbers={"steps": (1.0, 12.0)}),
        )


def test_nobody_sends_arrays_that_no_algorithm_asked_for() -> None:
    with pytest.raises(RefusedUpdateError, match=r"control/encoder\.w was not asked for"):
        admit(update(extra=CONTROL), EXPECTED)
    with pytest.raises(RefusedUpdateError, match=r"control/encoder\.w was not asked for"):
        admit(update(weights=CONTROL), replace(EXPECTED, extra=CONTROL))
