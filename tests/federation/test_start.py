"""What fine-tuning starts from: random weights, pre-training, or a file; bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echofm_core.contract import Weights
from echofm_core.models.build import build_echo_model
from echofm_core.models.checkpoints.importer import import_checkpoint
from echofm_core.models.config import ImportOptions
from echofm_core.models.saved import pin_start, start_weights
from echofm_core.models.weights import to_arrays
from echofm_core.plan.document import Plan
from echofm_core.runtime.array_files import load
from echofm_core.runtime.checksum import digest
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


#: One round that trains heads alone, so that the encoder comes out as it went in.
PROBE = {"rounds": 1, "mode": "linear"}


def encoder(weights: Weights) -> Weights:
    return {name: array for name, array in weights.items() if name.startswith("encoder.")}


def test_without_pre_training_and_without_weights_it_is_random(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """As the plan's seed draws it, which another seed does not."""
    plan = small_plan(pretrain={"rounds": 0}, finetune=PROBE)
    final = encoder(federated(plan, built_sites, tmp_path))
    drawn = to_arrays(build_echo_model(plan), ["encoder"])
    assert digest(final) == digest(drawn)
    other = to_arrays(build_echo_model(plan.model_copy(update={"seed": 8})), ["encoder"])
    assert digest(other) != digest(drawn)


def test_with_pre_training_it_is_what_that_came_to(
    built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    plan = small_plan(pretrain={"rounds": 1}, finetune=PROBE)
    final = encoder(federated(plan, built_sites, tmp_path))
    pretrained = load(tmp_path / "run" / "checkpoints" / "pretrain-0001.safetensors")
    assert digest(final) == digest(pretrained)
    assert digest(final) != digest(to_arrays(build_echo_model(plan), ["encoder"]))


@pytest.mark.parametrize("place", [".", "model.safetensors"])
def test_a_plan_names_a_folder_or_the_file_in_it(
    weights: Path, built_sites: list[SiteSettings], tmp_path: Path, place: str
) -> None:
    plan = started(weights / place, pretrain={"rounds": 0}, finetune=PROBE)
    assert plan.digest() == started(weights, pretrain={"rounds": 0}, finetune=PROBE).digest()
    final = encoder(federated(plan, built_sites[:1], tmp_path))
    assert digest(final) == digest(start_weights(plan.model, plan.machine))


def test_probing_leaves_the_imported_encoder_as_it_is(
    weights: Path, built_sites: list[SiteSettings], tmp_path: Path
) -> None:
    """Without pre-training, and with heads alone trained, bit for bit."""
    plan = started(weights, pretrain={"rounds": 0}, finetune=PROBE)
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
