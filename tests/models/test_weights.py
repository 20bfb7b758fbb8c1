"""Arrays in and out, strictly; files that are whole or not there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from echofm_core.contract import Weights, group_of
from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.echo_model import EchoModel
from echofm_core.models.weights import load_arrays, to_arrays
from echofm_core.runtime.array_files import load, load_metadata, save
from echofm_core.runtime.checksum import digest
from echofm_core.runtime.errors import CheckpointError, DivergedError
from tests.models.small import small_plan

QKV = "encoder.blocks.0.attn.qkv.weight"
ALL = ("encoder", "stf_net", "heads")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return to_arrays(build_echo_model(small_plan()), ALL)


@pytest.fixture
def other() -> EchoModel:
    return build_echo_model(small_plan(seed=99))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (["encoder"], {"encoder"}),
        (["heads"], {"heads.ef", "heads.reduced_ef", "heads.as_grade"}),
        (["heads.ef", "stf_net"], {"heads.ef", "stf_net"}),
        ([], set()),
    ],
)
def test_groups_are_taken_by_name(groups: list[str], expected: set[str]) -> None:
    taken = to_arrays(build_echo_model(small_plan()), groups)
    assert {group_of(name) for name in taken} == expected


def test_every_parameter_and_no_position_code_is_taken(arrays: Weights) -> None:
    model = build_echo_model(small_plan())
    assert set(arrays) == {name for name, _ in model.named_parameters()} == set(model.state_dict())
    assert all(array.dtype == np.float32 for array in arrays.values())


def test_arrays_share_no_memory_with_the_model() -> None:
    model = build_echo_model(small_plan())
    taken = to_arrays(model, ["encoder"])
    before = digest(taken)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert digest(taken) == before


def test_a_model_round_trips_through_arrays(arrays: Weights, other: EchoModel) -> None:
    load_arrays(other, arrays)
    assert digest(to_arrays(other, ALL)) == digest(arrays)


def test_the_encoder_of_pretraining_loads_into_the_predictor(other: EchoModel) -> None:
    encoder = to_arrays(build_autoencoder(small_plan()), ["encoder"])
    heads = digest(to_arrays(other, ["heads"]))
    load_arrays(other, encoder)
    assert digest(to_arrays(other, ["encoder"])) == digest(encoder)
    assert digest(to_arrays(other, ["heads"])) == heads


def test_half_precision_arrays_load_as_what_they_hold(arrays: Weights, other: EchoModel) -> None:
    half = {name: array.astype(np.float16) for name, array in arrays.items()}
    load_arrays(other, half)
    assert np.array_equal(to_arrays(other, ALL)[QKV], half[QKV].astype(np.float32))


def spoilt(arrays: Weights, name: str, array: np.ndarray | None) -> dict[str, np.ndarray]:
    changed = {key: value for key, value in arrays.items() if key != name}
    return changed if array is None else {**changed, name: array}


@pytest.mark.parametrize(
    ("name", "array", "sentence"),
    [
        (QKV, np.zeros((3, 128), "f4"), r"qkv.weight has shape \(3, 128\).* expects \(384, 128\)"),
        (QKV, np.zeros((384, 128), "i4"), "qkv.weight holds int32 values, expected floats"),
        (QKV, None, "lack array encoder.blocks.0.attn.qkv.weight, which"),
        ("encoder.blocks.0.attn.qkv.bias", None, "lack array encoder.blocks.0.attn.qkv.bias"),
        ("encoder.cls_token", np.zeros(128, "f4"), "hold array encoder.cls_token, which the model"),
        ("heads.view.linear.bias", np.zeros(5, "f4"), "hold array heads.view.linear.bias"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    arrays: Weights, other: EchoModel, name: str, array: np.ndarray | None, sentence: str
) -> None:
    before = digest(to_arrays(other, ALL))
    with pytest.raises(CheckpointError, match=sentence):
        load_arrays(other, spoilt(arrays, name, array))
    assert digest(to_arrays(other, ALL)) == before


def test_a_model_that_diverged_is_told_from_one_that_does_not_fit(
    arrays: Weights, other: EchoModel
) -> None:
    before = digest(to_arrays(other, ALL))
    with pytest.raises(DivergedError, match=r"qkv\.weight holds values that are not finite"):
        load_arrays(other, spoilt(arrays, QKV, np.full((384, 128), np.nan, "f4")))
    assert digest(to_arrays(other, ALL)) == before


def test_a_file_gives_back_arrays_and_metadata(arrays: Weights, tmp_path: Path) -> None:
    path = tmp_path / "model" / "model.safetensors"
    save(arrays, path, {"plan": "abc"})
    assert digest(load(path)) == digest(arrays)
    assert load_metadata(path) == {"plan": "abc"}
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_saving_a_transposed_array_keeps_its_values(tmp_path: Path) -> None:
    """Safetensors writes raw memory; an array that is not contiguous must be copied first."""
    array = np.arange(6, dtype="f4").reshape(2, 3).T
    save({"encoder.a": array}, tmp_path / "a.safetensors", {})
    assert np.array_equal(load(tmp_path / "a.safetensors")["encoder.a"], array)


def test_a_failed_save_leaves_the_old_file(arrays: Weights, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(arrays, path, {})
    with pytest.raises(Exception):  # noqa: B017 - whatever safetensors raises
        save({"encoder.a": np.zeros(2, dtype=object)}, path, {})
    assert digest(load(path)) == digest(arrays)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("damage", ["missing", "empty", "noise", "cut"])
def test_a_damaged_file_is_one_clear_error(damage: str, arrays: Weights, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    if damage != "missing":
        save(arrays, path, {})
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "noise": b"\xff" * 64, "cut": whole[:-100]}[damage])
    for read in (load, load_metadata):
        with pytest.raises(CheckpointError, match=r"a.safetensors"):
            read(path)
