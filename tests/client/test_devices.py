"""How many devices a hospital trains on goes from its settings to its rounds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client.launch import command
from client.site import Site
from client.state import SiteState
from client.training import TRAINERS
from echofm_core.contract import ENCODER, HEADS, STF_NET, Action, Instruction, Phase
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import to_arrays
from echofm_core.runtime.errors import EnvironmentClashError
from tests.federation.small import build_sites, small_plan

GROUPS = {Phase.PRETRAIN: [ENCODER], Phase.FINETUNE: [ENCODER, STF_NET, HEADS]}


def test_the_node_is_told(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'name = "north"\nserver = "fl:443"\nmanifest = "m"\nstore = "s"\nstate = "t"\ndevices = 4\n'
    )
    words = command(tmp_path)
    assert words[words.index("--node-config") + 1].endswith("threads=1 devices=4")


@pytest.mark.skipif(torch.cuda.is_available(), reason="expects a machine without GPUs")
def test_a_round_asks_for_them(tmp_path: Path) -> None:
    """Told to use GPUs that are not there, a site says how many it would have used."""
    built = build_sites(tmp_path, ("alpha",))[0]
    paths = {"manifest": str(built.manifest), "store": str(built.store)}
    site = Site.open({"site": "alpha", **paths, "device": "cuda", "devices": 4}, small_plan())
    plan, state = small_plan(), SiteState(tmp_path / "state", "run")
    for phase, groups in GROUPS.items():
        instruction = Instruction(
            action=Action(f"train.{phase}"),
            round=1,
            plan=plan.to_json(),
            plan_hash=plan.digest(),
            run="run",
            weights=to_arrays(build_echo_model(plan), groups),
            settings={},
        )
        with pytest.raises(EnvironmentClashError, match="asks for 4 GPUs, but this machine has 0"):
            TRAINERS[phase](site, plan, instruction, state)
