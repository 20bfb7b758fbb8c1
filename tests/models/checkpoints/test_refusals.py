"""What is damaged, foreign or hostile ends in one sentence, and nothing is written."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.config import ImportOptions, InputScale, ModelSize
from echofm_core.runtime.errors import CheckpointError, OutputError, PlanError
from tests.models.checkpoints.made import SEEN, State, original, pretrained, saved_biases, write

QUERY = "videomae.encoder.layer.2.attention.attention.query"
NORM = "videomae.layernorm.weight"
Change = Callable[[State], object]


@pytest.fixture(scope="module")
def state() -> State:
    return pretrained().state_dict()


def refused(path: Path, sentence: str, options: ImportOptions = SEEN) -> None:
    """The import fails with this sentence and leaves nothing behind."""
    out = path.parent / "ours"
    with pytest.raises(CheckpointError, match=sentence) as caught:
        import_checkpoint(path, out, options)
    assert "\n" not in str(caught.value)
    assert not out.exists() and not [*path.parent.glob(".*")]


def put(name: str, tensor: torch.Tensor) -> Change:
    return lambda state: state.update({name: tensor})


def drop(part: str) -> Change:
    return lambda state: [state.pop(name) for name in [*state] if part in name]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (drop(NORM.replace("weight", "bias")), "encoder.norm.bias is missing"),
        (drop(f"{QUERY}.weight"), "lacks q.weight of encoder.blocks.2.attn"),
        (drop("layer.2.attention.attention"), "encoder.blocks.2.attn.qkv.weight is missing"),
        (drop("mask_token"), "decoder.mask_token.weight is missing"),
        (drop("encoder_to_decoder"), "decoder.bridge.weight is missing"),
        (drop("patch_embeddings.projection.bias"), "encoder.patch_embed.bias is missing"),
        (drop("layer.3."), "128 wide and 3 blocks deep, which is not a size that we have"),
        (put("extra.weight", torch.ones(2)), "1 tensor .* no place .*: extra.weight;"),
        (
            put("videomae.encoder.layer.0.gamma_1", torch.ones(128)),
            "no place .*: videomae.encoder.layer.0.gamma_1;",
        ),
        (put(NORM, torch.ones(64)), r"layernorm.weight has shape \(64,\), expected \(128,\)"),
        (put(f"{QUERY}.weight", torch.ones(128, 64)), r"query.weight has shape \(128, 64\)"),
        (put(f"{QUERY}.bias", torch.ones(5)), r"query.bias has shape \(5,\)"),
        (put("mask_token", torch.ones(64)), r"mask_token has shape \(64,\), expected \(1, 1, 64\)"),
        (put(NORM, torch.full((128,), torch.nan)), "layernorm.weight is not of finite floats"),
        (put(NORM, torch.ones(128, dtype=torch.int64)), "layernorm.weight is not of finite"),
        (put(NORM, torch.ones(128).to_sparse()), "layernorm.weight is not of finite"),
        (put(NORM, torch.ones(128, device="meta")), "layernorm.weight is not of finite"),
        (put("module." + NORM, torch.ones(128)), "tensors videomae.layernorm.weight and module"),
        (put("pos_embed", torch.rand(1, 64, 128)), "learned positions cannot be imported"),
        (put("pos_embed", torch.rand(1, 64, 127)), "learned positions cannot be imported"),
        (put("pos_embed", torch.rand(3)), "learned positions cannot be imported"),
        (
            put("videomae.embeddings.patch_embeddings.projection.weight", torch.ones(128, 3, 8, 8)),
            r"patch embedding has shape \(128, 3, 8, 8\); expected \(width, channels, tubelet",
        ),
        (drop("videomae."), "not of a VideoMAE: .* but mask_token, encoder_to_decoder.weight"),
    ],
)
def test_a_tensor_that_is_wrong_is_named(
    change: Change, sentence: str, state: State, tmp_path: Path
) -> None:
    changed = dict(state)
    change(changed)
    refused(write(tmp_path / "a.pt", changed), sentence)


def without_biases(state: State) -> State:
    """What a loader that does not know the names `q_bias` and `v_bias` keeps."""
    return {
        name: tensor for name, tensor in state.items() if not name.endswith(("q_bias", "v_bias"))
    }


def with_zero_biases(state: State) -> State:
    """What it saves again afterwards."""
    return {
        name: torch.zeros_like(tensor) if name.endswith(("query.bias", "value.bias")) else tensor
        for name, tensor in state.items()
    }


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda state: without_biases(saved_biases(state)), "no biases of queries and values"),
        (lambda state: without_biases(original(state)), "no biases of queries and values"),
        (with_zero_biases, "biases of queries or values in .* are exactly zero"),
        (lambda state: original(with_zero_biases(state)), "are exactly zero"),
        (lambda state: {**state, f"{QUERY}.bias": torch.zeros(128)}, "blocks.2.attn are exactly"),
    ],
)
def test_biases_that_a_conversion_lost_are_noticed(
    spoil: Callable[[State], State], sentence: str, state: State, tmp_path: Path
) -> None:
    refused(write(tmp_path / "a.pt", spoil(state)), sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (ImportOptions(size=ModelSize.BASE), "128 wide and 4 blocks deep, which is not base"),
        (ImportOptions(patch=16), "patch is 8, not 16; patches cannot be resampled"),
        (ImportOptions(tubelet=1), "tubelet is 2, not 1"),
        (
            ImportOptions(trained_pixels=30),
            "16 frames of 30 pixels, .* cannot be cut into its patches of 2",
        ),
    ],
)
def test_options_that_the_checkpoint_does_not_meet(
    options: ImportOptions, sentence: str, state: State, tmp_path: Path
) -> None:
    refused(write(tmp_path / "a.pt", state), sentence, options)


def test_pixels_that_its_patches_do_not_divide(state: State, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"data\.size"):
        import_checkpoint(write(tmp_path / "a.pt", state), tmp_path / "o", ImportOptions(pixels=60))


def test_colour_statistics_do_not_fit_a_grey_checkpoint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", pretrained(num_channels=1).state_dict())
    refused(
        path,
        "1 input channels, imagenet statistics are of 3",
        ImportOptions(input=InputScale.IMAGENET),
    )


class Hostile:
    """Makes a folder when an ordinary reader opens it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_code_in_a_file_is_not_run(state: State, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = write(tmp_path / "a.pt", {"model": state, "extra": Hostile(marker)})
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file is as hostile as it should be"
    marker.rmdir()
    refused(path, r"holds the Python object \w+\.mkdir, which could run code")
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(pickle.dumps({"model": Hostile(tmp_path / "ran")}))
    refused(path, r"holds the Python object \w+\.mkdir|cannot be read")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"PK\x03\x04 and no archive"])
@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.safetensors"])
def test_a_damaged_file_is_refused(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, f"{name} cannot be read")


def test_files_that_were_cut_short(state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", state)
    path.write_bytes(path.read_bytes()[:-1000])
    refused(path, "a.pt cannot be read")
    save_file(state, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:-1000])
    refused(tmp_path / "a.safetensors", "a.safetensors cannot be read")


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("thesis.txt", "mine")
    refused(tmp_path / "a.pth", "a.pth cannot be read")


@pytest.mark.parametrize("content", [torch.ones(3), {}, {"epoch": 3}, {"model": {"a": 1}}, [1]])
def test_a_file_without_named_tensors(content: object, tmp_path: Path) -> None:
    refused(write(tmp_path / "a.pt", content), "is no dictionary of named tensors, nor holds one")


def test_paths_with_no_checkpoint(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "none.pt does not exist")
    (tmp_path / "a.ckpt").write_text("")
    refused(tmp_path / "a.ckpt", "ends in none of .bin, .pt, .pth, .safetensors, .index.json")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no checkpoint; expected one of model.safetensors.index")


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        ({"weight_map": {"a": "../a.safetensors"}}, "which is no weights file beside it"),
        ({"weight_map": {"a": "/etc/passwd"}}, "which is no weights file beside it"),
        ({"weight_map": {"a": "b.safetensors"}}, "names b.safetensors, which is not there"),
        ({"weight_map": {"b": "a.safetensors"}}, "promises 1 tensor that no file has: b"),
        ({"weight_map": {"a": 1}}, "has no `weight_map`"),
        ({}, "has no `weight_map`"),
        ([], "is not a JSON object"),
    ],
)
def test_an_index_is_not_believed(index: object, sentence: str, tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(tmp_path / "model.safetensors.index.json", sentence)


def test_a_tensor_in_two_shards(state: State, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file({"x": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    places = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(places))
    refused(tmp_path / "model.safetensors.index.json", "holds tensor x in two of its files")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file; choose another place"):
        import_checkpoint(tmp_path / "none.pth", tmp_path / "file/ours", SEEN)


def test_a_folder_that_is_in_use_is_not_written_to(state: State, tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", state)
    out = tmp_path / "ours"
    out.mkdir()
    import_checkpoint(path, out, SEEN)
    before = (out / "model.safetensors").stat().st_mtime_ns
    with pytest.raises(CheckpointError, match="is there already"):
        import_checkpoint(path, out, SEEN)
    assert (out / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"num_attention_heads": 16}, "says num_attention_heads = 16, the model has 4"),
        ({"hidden_act": "relu"}, "says hidden_act = 'relu'"),
        ({"model_type": "vit"}, "says model_type = 'vit'"),
        ({"image_size": [32, 64]}, r"has image_size = \[32, 64\]"),
    ],
)
def test_a_configuration_that_says_another_model(
    config: dict[str, object], sentence: str, state: State, tmp_path: Path
) -> None:
    """The published small model's says 16 heads where its code had 6: --ignore-config."""
    path = write(tmp_path / "pytorch_model.bin", state)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=sentence):
        import_checkpoint(tmp_path, tmp_path / "ours", ImportOptions())
    import_checkpoint(path, tmp_path / "ours", SEEN, ignore_config=True)
