"""The encoder sees what it is shown, and nothing else."""

import torch
from torch import nn

from echofm_core.models.build import build_autoencoder, build_echo_model
from echofm_core.models.masking import Subset
from echofm_core.models.video_vit import VideoEncoder
from tests.models.small import GRID, PATCH, generator, small_plan, videos


def encoder() -> VideoEncoder:
    return build_echo_model(small_plan()).encoder.eval()


def test_it_says_its_grid_and_width() -> None:
    assert encoder().grid == GRID
    assert encoder()(videos(2)).shape == (2, 64, encoder().width)


def test_seeing_every_token_is_the_same_as_naming_none() -> None:
    model, video = encoder(), videos(2)
    assert torch.equal(model(video), model(video, Subset(torch.arange(64).expand(2, -1))))


def test_the_order_of_visible_tokens_is_kept() -> None:
    """Self-attention is equivariant and each token carries its own position."""
    model, video = encoder(), videos(1)
    forward = torch.tensor([[3, 17, 40]])
    there, back = (model(video, Subset(order)) for order in (forward, forward.flip(1)))
    torch.testing.assert_close(there, back.flip(1), atol=1e-5, rtol=1e-5)


def test_hidden_pixels_do_not_reach_the_output() -> None:
    model, video = encoder(), videos(1)
    changed = video.clone()
    changed[:, :, :, :PATCH, :PATCH] += 5  # position 0 in every slot
    visible = Subset(torch.tensor([[1, 2, 18]]))
    assert torch.equal(model(video, visible), model(changed, visible))
    assert not torch.equal(model(video), model(changed))


def test_the_patch_embedding_is_the_tubelet_convolution() -> None:
    """A 3D convolution with stride = kernel and the same weights gives the same tokens."""
    model, video = encoder(), videos(2)
    width, (tubelet, side) = model.width, (2, PATCH)
    convolution = nn.Conv3d(1, width, (tubelet, side, side), stride=(tubelet, side, side))
    with torch.no_grad():
        convolution.weight.copy_(model.patch_embed.weight.reshape(width, 1, tubelet, side, side))
        convolution.bias.copy_(torch.randn(width, generator=generator()))
        model.patch_embed.bias.copy_(convolution.bias)
    expected = convolution(video.transpose(1, 2)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.patch_embed(model.patches.cut(video)), expected)


def test_layer_norms_have_the_reference_epsilon() -> None:
    norms = [layer for layer in encoder().modules() if isinstance(layer, nn.LayerNorm)]
    assert len(norms) == 2 * 4 + 1
    assert {norm.eps for norm in norms} == {1e-6}


def test_an_encoder_without_a_last_norm_gives_what_its_blocks_give() -> None:
    plan, video = small_plan(), videos(2)
    bare = plan.model_copy(update={"model": plan.model.model_copy(update={"final_norm": False})})
    normed, model = build_autoencoder(plan).encoder, build_autoencoder(bare).encoder
    assert {name for name, _ in normed.named_parameters()} - {
        name for name, _ in model.named_parameters()
    } == {"norm.weight", "norm.bias"}
    model.load_state_dict(normed.state_dict(), strict=False)
    assert torch.equal(normed.norm(model(video)), normed(video))


def test_its_levels_are_patches_without_place_and_what_each_block_hands_on() -> None:
    """By hand through the blocks, one after the other; the last level is the forward pass."""
    model, video = encoder(), videos(2)
    first, *others = model.levels(video)
    tokens = model.patch_embed(model.patches.cut(video))
    torch.testing.assert_close(first, tokens)
    tokens = tokens + model.position
    assert len(others) == len(model.blocks)
    for level, block in zip(others[:-1], model.blocks, strict=False):
        tokens = block(tokens)
        torch.testing.assert_close(level, tokens)
    torch.testing.assert_close(others[-1], model(video))
