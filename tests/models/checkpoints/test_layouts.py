"""One model under every name and in every file that public checkpoints come in."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import VideoMAEForPreTraining, VideoMAEModel

from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.checkpoints.layouts import Layout
from echofm_core.models.config import ImportOptions, InputScale
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime import array_files as files
from echofm_core.runtime.checksum import digest
from tests.models.checkpoints.made import (
    SEEN,
    State,
    as_ours,
    as_theirs,
    classifier,
    config,
    grey,
    imported,
    original,
    pretrained,
    randomised,
    saved_biases,
    write,
)
from tests.models.small import FRAMES, SIZE


@pytest.fixture(scope="module")
def model() -> VideoMAEForPreTraining:
    return pretrained()


@pytest.fixture(scope="module")
def wanted(model: VideoMAEForPreTraining, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of the plainest import; that it is right, the parity tests say."""
    folder = tmp_path_factory.mktemp("plain")
    return import_checkpoint(write(folder / "a.pt", model.state_dict()), folder / "a", SEEN)[1]


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def hub_folder(model: VideoMAEForPreTraining, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


def sharded(model: VideoMAEForPreTraining, folder: Path) -> Path:
    model.save_pretrained(folder, max_shard_size="500KB")
    assert len([*folder.glob("*.safetensors")]) > 2
    return folder


def shard_index(model: VideoMAEForPreTraining, folder: Path) -> Path:
    return sharded(model, folder) / "model.safetensors.index.json"


def accelerate_folder(model: VideoMAEForPreTraining, folder: Path) -> Path:
    """As `Accelerator.save_state` leaves it after distributed training."""
    folder.mkdir()
    write(folder / "pytorch_model.bin", prefixed(model.state_dict(), "module."))
    write(folder / "optimizer.bin", {"state": {}, "param_groups": []})
    (folder / "random_states_0.pkl").write_bytes(b"never opened")
    return folder


def accelerate_safetensors(model: VideoMAEForPreTraining, folder: Path) -> Path:
    folder.mkdir()
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def published_hub(model: VideoMAEForPreTraining, folder: Path) -> Path:
    folder.mkdir()
    return write(folder / "pytorch_model.bin", saved_biases(model.state_dict()))


def published_original(model: VideoMAEForPreTraining, folder: Path) -> Path:
    """With the command line that VideoMAE's own script keeps beside the weights."""
    folder.mkdir()
    state = original(model.state_dict())
    assert "encoder.blocks.0.attn.q_bias" in state and "encoder.patch_embed.proj.weight" in state
    content = {"model": state, "epoch": 1599, "args": argparse.Namespace(lr=1e-3, model="base")}
    return write(folder / "checkpoint.pth", content)


def deepspeed_original(model: VideoMAEForPreTraining, folder: Path) -> Path:
    folder.mkdir()
    return write(folder / "states.pt", {"module": original(model.state_dict())})


def compiled_original(model: VideoMAEForPreTraining, folder: Path) -> Path:
    folder.mkdir()
    save_file(prefixed(original(model.state_dict()), "_orig_mod."), folder / "a.safetensors")
    return folder / "a.safetensors"


def parameters(model: VideoMAEForPreTraining, folder: Path) -> Path:
    """With gradients switched on, as `named_parameters` gives them."""
    folder.mkdir()
    return write(folder / "a.pt", dict(model.named_parameters()))


def stored_positions(model: VideoMAEForPreTraining, folder: Path) -> Path:
    """Some conversions keep the fixed table as a tensor."""
    folder.mkdir()
    table = model.videomae.embeddings.position_embeddings
    state = {**original(model.state_dict()), "encoder.pos_embed": table}
    return write(folder / "a.pt", state)


WRITERS = [
    hub_folder,
    sharded,
    shard_index,
    accelerate_folder,
    accelerate_safetensors,
    published_hub,
    published_original,
    deepspeed_original,
    compiled_original,
    parameters,
    stored_positions,
]


@pytest.mark.parametrize("writer", WRITERS)
def test_all_give_the_same_weights(
    writer: Callable[[VideoMAEForPreTraining, Path], Path],
    model: VideoMAEForPreTraining,
    wanted: str,
    tmp_path: Path,
) -> None:
    source = writer(model, tmp_path / "theirs")
    conversion, name = import_checkpoint(source, tmp_path / "ours", SEEN)
    assert name == wanted
    is_original = "original" in writer.__name__ or writer is stored_positions
    layout = Layout.ORIGINAL if is_original else Layout.HUGGING_FACE
    assert conversion.layout is layout
    assert conversion.input is InputScale.IMAGENET
    unused = {"encoder.pos_embed"} if writer is stored_positions else set()
    assert set(conversion.ignored) == unused


def test_half_precision_is_read_as_what_it_holds(
    model: VideoMAEForPreTraining, tmp_path: Path
) -> None:
    state = {name: tensor.bfloat16() for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / "half.safetensors")
    whole = {name: tensor.float() for name, tensor in state.items()}
    one = import_checkpoint(tmp_path / "half.safetensors", tmp_path / "one", SEEN)
    two = import_checkpoint(write(tmp_path / "whole.pt", whole), tmp_path / "two", SEEN)
    assert one[1] == two[1]


def test_biases_of_queries_and_values_are_there_and_keys_have_none(
    model: VideoMAEForPreTraining, tmp_path: Path
) -> None:
    ours = imported(published_original(model, tmp_path / "theirs"), tmp_path / "ours")
    for number, layer in enumerate(model.videomae.encoder.layer):
        query, key, value = ours.encoder.blocks[number].attn.qkv.bias.chunk(3)
        theirs = layer.attention.attention
        assert torch.equal(query, theirs.query.bias) and query.any()
        assert torch.equal(value, theirs.value.bias) and value.any()
        assert not key.any()


@torch.no_grad()
def test_a_model_that_says_it_has_no_biases_needs_none(tmp_path: Path) -> None:
    model = pretrained(qv_bias=False)
    model.save_pretrained(tmp_path / "theirs")
    ours = imported(tmp_path / "theirs", tmp_path / "ours")
    levels = grey(2)
    wanted = model.videomae(as_theirs(levels)).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, atol=1e-5, rtol=1e-5)


def test_the_folder_is_a_model_that_says_what_it_is(
    model: VideoMAEForPreTraining, wanted: str, tmp_path: Path
) -> None:
    import_checkpoint(published_original(model, tmp_path / "theirs"), tmp_path / "ours", SEEN)
    header = files.load_metadata(tmp_path / "ours" / "model.safetensors")
    plan = plan_from_json(header["plan"])
    assert (plan.model.size, plan.model.patch, plan.model.tubelet) == ("tiny", 8, 2)
    assert (plan.data.size, plan.data.frames, plan.model.position_grid) == (32, 8, (4, 4, 4))
    assert header["digest"] == wanted == digest(files.load(tmp_path / "ours/model.safetensors"))
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {
        "README.md",
        "model.safetensors",
    }
    assert [path.name for path in tmp_path.glob(".*")] == []


# Encoders without a last norm, and without a decoder.


def echo_vision_fm() -> VideoMAEForPreTraining:
    """VideoMAE under a default configuration: mean pooling, hence no last norm."""
    return pretrained(use_mean_pooling=True)


def predictor_state(model: VideoMAEForPreTraining) -> dict[str, State]:
    """As the released fine-tuning script keeps it."""
    state = prefixed(model.videomae.state_dict(), "pretrained_encoder.")
    extra = ["stff_net.conv_spatial.weight", "regressor.0.0.weight", "regressor.0.1.running_mean"]
    return {"model_state_dict": {**state, **{name: torch.ones(2, 2) for name in extra}}}


@torch.no_grad()
@pytest.mark.parametrize("tuned", [False, True])
def test_echo_vision_fm_is_read_on_its_own_input(tuned: bool, tmp_path: Path) -> None:
    """It was fed [0, 1] as it is, and nothing follows the last block."""
    model = echo_vision_fm()
    content = predictor_state(model) if tuned else model.state_dict()
    ours = imported(write(tmp_path / "a.bin", content), tmp_path / "ours")
    levels = grey(2)
    wanted = model.videomae(levels.expand(-1, -1, 3, -1, -1)).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, atol=1e-5, rtol=1e-5)


def test_what_echo_vision_fm_leaves_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pth", predictor_state(echo_vision_fm()))
    conversion, _ = import_checkpoint(path, tmp_path / "ours", SEEN)
    assert conversion.layout is Layout.ECHO_VISION_FM
    assert conversion.input is InputScale.UNIT
    card = (tmp_path / "ours" / "README.md").read_text()
    assert set(conversion.ignored) == {
        "stff_net.conv_spatial.weight",
        "regressor.0.0.weight",
        "regressor.0.1.running_mean",
    }
    assert all(f"`{name}`: " in card for name in conversion.ignored)
    assert "scrambled axes" in card and "no LayerNorm after the encoder" in card


@torch.no_grad()
@pytest.mark.parametrize("names", ["hugging_face", "original"])
def test_a_fine_tuned_classifier_gives_its_encoder(names: str, tmp_path: Path) -> None:
    """The original repository's fine-tuned files have no `encoder.` before their names."""
    model = classifier()
    state = saved_biases(model.state_dict())
    if names == "original":
        named = original(model.state_dict())
        state = {name.removeprefix("encoder."): tensor for name, tensor in named.items()}
        state = {name.replace("classifier.", "head."): tensor for name, tensor in state.items()}
        assert "blocks.3.attn.v_bias" in state and "head.weight" in state
    path = write(tmp_path / "a.pth", {"module": state})
    conversion, _ = import_checkpoint(path, tmp_path / "one", SEEN)
    assert conversion.layout == names
    assert {name.partition(".")[0] for name in conversion.arrays} == {"encoder"}
    assert {name.partition(".")[0] for name in conversion.ignored} <= {
        "head",
        "classifier",
        "fc_norm",
    }
    levels = grey(2)
    ours = imported(path, tmp_path / "two")
    wanted = model.videomae(as_theirs(levels)).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_encoder_saved_alone_is_read(tmp_path: Path) -> None:
    model = randomised(VideoMAEModel(config()))
    state = model.state_dict()
    assert "embeddings.patch_embeddings.projection.weight" in state
    levels = grey(2)
    ours = imported(write(tmp_path / "a.pt", state), tmp_path / "ours")
    wanted = model(as_theirs(levels)).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_grey_checkpoint_needs_no_folding_of_channels(tmp_path: Path) -> None:
    model = pretrained(num_channels=1)
    options = ImportOptions(trained_pixels=SIZE, trained_frames=FRAMES, input=InputScale.UNIT)
    ours = imported(write(tmp_path / "a.pt", model.state_dict()), tmp_path / "ours", options)
    levels = grey(2)
    wanted = model.videomae(levels).last_hidden_state
    torch.testing.assert_close(ours.encoder(as_ours(levels)), wanted, atol=1e-5, rtol=1e-5)


def test_a_decoder_of_another_depth_stays_out_and_is_named(tmp_path: Path) -> None:
    """Hugging Face's large model has 12 decoder blocks where ours has 8."""
    model = pretrained(decoder_num_hidden_layers=2)
    path = write(tmp_path / "a.pt", model.state_dict())
    conversion, _ = import_checkpoint(path, tmp_path / "ours", SEEN)
    assert {name.partition(".")[0] for name in conversion.arrays} == {"encoder"}
    assert "encoder_to_decoder.weight" in conversion.ignored
    reason = conversion.ignored["mask_token"]
    assert reason == "decoder of 64 width, 2 blocks and 2 heads; ours has 64, 4 and 2"
