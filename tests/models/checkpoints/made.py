"""Random VideoMAEs of Hugging Face's code, small as our tiny size, written as others write them."""

import re
from pathlib import Path
from typing import TypeVar

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from transformers import (
    VideoMAEConfig,
    VideoMAEForPreTraining,
    VideoMAEForVideoClassification,
)

from echofm_core.data.windows import MEAN, SD
from echofm_core.models.build import build_autoencoder
from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.config import ImportOptions
from echofm_core.models.masked_autoencoder import MaskedAutoencoder
from echofm_core.models.weights import load_arrays
from echofm_core.plan.load import plan_from_json
from echofm_core.runtime import array_files as files
from tests.models.small import FRAMES, PATCH, SIZE, TUBELET, generator

State = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)

#: What the test models are said to have seen, since no published one is so small.
SEEN = ImportOptions(trained_pixels=SIZE, trained_frames=FRAMES)
#: ImageNet's mean and deviation, which VideoMAE's processor subtracts and divides by.
IMAGENET = torch.tensor([IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD], dtype=torch.float64)


def config(**changes: object) -> VideoMAEConfig:
    """Our tiny size in Hugging Face's words, on 8 frames of 32 x 32 in patches of 2 x 8 x 8."""
    values: dict[str, object] = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "num_frames": FRAMES,
        "tubelet_size": TUBELET,
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 512,
        "decoder_hidden_size": 64,
        "decoder_num_hidden_layers": 4,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 256,
        "use_mean_pooling": False,
        "norm_pix_loss": True,
    }
    return VideoMAEConfig(**{**values, **changes})


def randomised(model: Model, seed: int = 0) -> Model:
    """Biases, norms and tokens too; they begin as zeros and ones, and would hide a mistake."""
    source = generator(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.2 if parameter.ndim == 1 or "mask_token" in name else 0.05
            parameter.add_(scale * torch.randn(parameter.shape, generator=source))
    return model.eval()


def pretrained(**changes: object) -> VideoMAEForPreTraining:
    return randomised(VideoMAEForPreTraining(config(**changes)))


def classifier() -> VideoMAEForVideoClassification:
    return randomised(VideoMAEForVideoClassification(config(use_mean_pooling=True)))


#: Hugging Face's piece of a name -> the original repository's, for blocks.
_ORIGINAL = {
    "attention.output.dense": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "attention.attention.query.bias": "attn.q_bias",
    "attention.attention.value.bias": "attn.v_bias",
}


def original(state: State) -> State:
    """The same weights under the names of the original repository, q, k and v in one map."""
    renamed: State = {}
    for name, tensor in state.items():
        if "attention.attention.query.weight" in name:
            parts = [name.replace("query", part) for part in ("query", "key", "value")]
            block = name.replace("attention.attention.query.weight", "attn.qkv.weight")
            renamed[_beside_blocks(block)] = torch.cat([state[part] for part in parts])
        elif not re.search(r"attention\.(key|value)\.weight", name):
            for theirs, ours in _ORIGINAL.items():
                name = name.replace(theirs, ours)
            renamed[_beside_blocks(name)] = tensor
    return renamed


def _beside_blocks(name: str) -> str:
    for theirs, ours in (
        ("videomae.embeddings.patch_embeddings.projection", "encoder.patch_embed.proj"),
        ("videomae.encoder.layer", "encoder.blocks"),
        ("videomae.layernorm", "encoder.norm"),
        ("decoder.decoder_layers", "decoder.blocks"),
    ):
        name = name.replace(theirs, ours)
    return name


def saved_biases(state: State) -> State:
    """Names of the published Hugging Face files, which have the biases apart from the maps."""
    return {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): tensor
        for name, tensor in state.items()
    }


def write(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def imported(path: Path, out: Path, options: ImportOptions = SEEN) -> MaskedAutoencoder:
    """Import a checkpoint, and build the model that its folder describes."""
    import_checkpoint(path, out, options)
    file = out / "model.safetensors"
    plan = plan_from_json(files.load_metadata(file)["plan"])
    whole = {"decode_fraction": 1.0, "mask_ratio": 0.75}
    pretrain = plan.pretrain.model_copy(update=whole)
    model = build_autoencoder(plan.model_copy(update={"pretrain": pretrain}))
    load_arrays(model, files.load(file))
    return model.eval()


def grey(batch: int, seed: int = 5) -> Tensor:
    """Grey levels in [0, 1], float32 (B, T, 1, H, W)."""
    return torch.rand(batch, FRAMES, 1, SIZE, SIZE, generator=generator(seed))


def as_ours(levels: Tensor) -> Tensor:
    return (levels - MEAN) / SD


def as_theirs(levels: Tensor) -> Tensor:
    """Three equal channels under ImageNet's statistics."""
    mean, deviation = IMAGENET.to(levels.dtype).reshape(2, 3, 1, 1)
    return (levels.expand(-1, -1, 3, -1, -1) - mean) / deviation


def hidden_mask(hidden: Tensor, tokens: int) -> Tensor:
    """Bool (B, tokens), True where hidden."""
    return torch.zeros(len(hidden), tokens, dtype=torch.bool).scatter(1, hidden, True)
