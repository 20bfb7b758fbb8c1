"""`echofm model import` as a user meets it."""

import hashlib
import tomllib
from pathlib import Path

from echofm_core.models.build import build_autoencoder
from echofm_core.models.weights import load_arrays
from echofm_core.plan.load import load_plan
from echofm_core.runtime import array_files as files
from tests.models.checkpoints.made import pretrained
from tests.support.commands import Echofm


def test_it_writes_weights_that_its_own_lines_of_a_plan_load(
    echofm: Echofm, tmp_path: Path
) -> None:
    """A hub folder, whose config.json says what was seen; imported for frames of twice the side.

    A block has 15 tensors; the encoder 4 blocks and 4 more, the decoder 4 blocks and 6 more: 130.
    """
    pretrained().save_pretrained(tmp_path / "hub")
    out = tmp_path / "ours"
    result = echofm(
        "model", "import", tmp_path / "hub", "--out", out, "--size", "tiny", "--pixels", 64
    )
    assert result.returncode == 0, result.stderr
    first, _, lines = result.stdout.partition("[data]")
    assert "hugging_face, tiny encoder; 130 of 130 tensors used" in first
    assert "4 x 4 x 4 tokens, interpolated between the centres of tokens to 4 x 8 x 8" in first
    assert "CC BY-NC 4.0" in first
    (tmp_path / "plan.toml").write_text(f"[data]{lines}")
    plan = load_plan(tmp_path / "plan.toml")
    assert (plan.data.size, plan.model.position_grid) == (64, (4, 4, 4))
    load_arrays(build_autoencoder(plan), files.load(out / "model.safetensors"))


def test_the_card_holds_what_a_reader_needs(echofm: Echofm, tmp_path: Path) -> None:
    pretrained(decoder_num_hidden_layers=2).save_pretrained(tmp_path / "hub")
    result = echofm("model", "import", tmp_path / "hub", "--out", tmp_path / "ours")
    assert result.returncode == 0, result.stderr
    card = (tmp_path / "ours" / "README.md").read_text()
    source = hashlib.sha256((tmp_path / "hub" / "model.safetensors").read_bytes()).hexdigest()
    header = files.load_metadata(tmp_path / "ours" / "model.safetensors")
    for words in (
        f"`model.safetensors`: SHA-256 `{source}`",
        "3 input channels were summed into one",
        "ImageNet's mean and deviation",
        "with the bias (q, 0, v)",
        "as they were trained",
        "ends with the checkpoint's LayerNorm",
        "No decoder was taken over",
        "- `mask_token`: decoder of 64 width, 2 blocks",
        "CC BY-NC 4.0",
        f"weights digest `{header['digest']}`",
    ):
        assert words in card, words
    fenced = card.partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(fenced)["model"]["position_grid"] == [4, 4, 4]
    assert str(tmp_path) not in card


def test_a_checkpoint_that_cannot_be_used_ends_with_one_sentence(
    echofm: Echofm, tmp_path: Path
) -> None:
    (tmp_path / "a.pt").write_bytes(b"no checkpoint")
    result = echofm("model", "import", tmp_path / "a.pt", "--out", tmp_path / "ours")
    assert result.returncode == 16
    assert "Traceback" not in result.stderr
    assert "a.pt" in result.stderr and "cannot be read" in result.stderr
    assert not (tmp_path / "ours").exists()


def test_a_model_without_a_word_still_prints_its_anatomy(echofm: Echofm) -> None:
    result = echofm("model", "--size", "tiny", "--pixels", "64", "--patch", "8")
    assert result.returncode == 0
    assert "tiny encoder" in result.stdout
    help_page = echofm("model", "import", "--help")
    assert "Usage: echofm model import" in help_page.stdout
