"""One institution that begins with imported weights: by --start, or by its plan."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.config import ImportOptions
from echofm_core.models.saved import load_weights
from tests.models.checkpoints.made import pretrained, write
from tests.simulations.alone.conftest import PLAN
from tests.support.commands import Echofm

#: One round that trains heads alone, so that the encoder comes out as it went in.
PROBE = PLAN.replace("rounds = 4", "rounds = 1\nmode = 'linear'")


@pytest.fixture
def weights(home: Path) -> Path:
    """Of four frames of 32 pixels in patches of 8, which are the plan's."""
    model = pretrained(num_frames=4)
    options = ImportOptions(trained_frames=4, trained_pixels=32)
    import_checkpoint(write(home / "a.pt", model.state_dict()), home / "weights", options)
    return home / "weights"


def finetune(echofm: Echofm, home: Path, plan: str, *more: str) -> subprocess.CompletedProcess[str]:
    (home / "plan.toml").write_text(plan)
    return echofm("finetune", "plan.toml", "--out", "run", *more, cwd=home)


@pytest.mark.slow
@pytest.mark.parametrize("by_plan", [True, False])
def test_the_encoder_is_the_imported_one(
    echofm: Echofm, home: Path, weights: Path, by_plan: bool
) -> None:
    told = PROBE + "start = 'weights'\n" if by_plan else PROBE
    result = finetune(echofm, home, told, *([] if by_plan else ["--start", "weights"]))
    assert result.returncode == 0, result.stderr
    final, start = load_weights(home / "run"), load_weights(weights)
    encoder = [name for name in start if name.startswith("encoder.")]
    assert len(encoder) == 4 + 4 * 12
    assert all(np.array_equal(final[name], start[name]) for name in encoder)


def test_weights_for_other_positions_are_refused_before_anything_is_read(
    echofm: Echofm, home: Path, weights: Path
) -> None:
    """They would load: positions are no weights."""
    larger = PROBE.replace("size = 32", "size = 64")
    result = finetune(echofm, home, larger, "--start", "weights")
    assert result.returncode == 16
    assert "model.position_grid = [2, 4, 4], the plan [2, 8, 8]" in result.stderr
    assert not (home / "run").exists()
