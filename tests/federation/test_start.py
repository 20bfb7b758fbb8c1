"""A federation that starts from imported weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.config import ImportOptions
from echofm_core.models.saved import pin_start, start_weights
from echofm_core.plan.document import Plan
from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.small import small_plan, with_states
from tests.models.checkpoints.made import pretrained, write


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random VideoMAE of four frames of 32 pixels in patches of 16, as the small plan has."""
    folder = tmp_path_factory.mktemp("weights")
    model = pretrained(patch_size=16, num_frames=4)
    options = ImportOptions(trained_frames=4, trained_pixels=32)
    import_checkpoint(write(folder / "a.pt", model.state_dict()), folder / "in", options)
    return folder / "in"


def started(weights: Path, **changes: dict[str, Any]) -> Plan:
    return pin_start(small_plan(machine={"start": str(weights)}, **changes))


def federated(plan: Plan, sites: list[SiteSettings], folder: Path) -> Weights:
    with Engine() as engine:
        grid = engine.grid(with_states(sites, folder / "state"))
        return run_federation(grid, plan, folder / "run").weights


def test_probing_leaves_the_imported_encoder_as_it_is(
    weights: Path, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Without pre-training, and with heads alone trained, bit for bit."""
    plan = started(weights, pretrain={"rounds": 0}, finetune={"rounds": 1, "mode": "linear"})
    final, start = federated(plan, built_sites, tmp_path), start_weights(plan.model, plan.machine)
    assert len(start) == 4 + 4 * 12
    assert all(np.array_equal(final[name], array) for name, array in start.items())


def test_pretraining_begins_at_the_imported_encoder_and_decoder(
    weights: Path, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """A learning rate that moves nothing: what comes back is what was sent."""
    tiny = {"rounds": 1, "learning_rate": 1e-12, "share_decoder": True}
    plan = started(weights, pretrain=tiny, finetune={"rounds": 0})
    final, start = (
        federated(plan, built_sites, tmp_path),
        start_weights(plan.model, plan.machine, ["encoder", "decoder"]),
    )
    assert set(final) == set(start)
    for name, array in start.items():
        np.testing.assert_allclose(final[name], array, atol=1e-6, err_msg=name)
