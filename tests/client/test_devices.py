"""How many devices a hospital trains on goes from its settings to its rounds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import tomli_w
import torch
from flwr.common.config import parse_config_args

from client.launch import command, load_site, log_settings
from client.policy import OPEN
from client.request import Request
from client.site import Site
from client.state import SiteState
from client.training import train
from echofm_core.contract import ENCODER, HEADS, STF_NET, Action, Instruction, Phase
from echofm_core.models.build import build_echo_model
from echofm_core.models.weights import to_arrays
from echofm_core.runtime.errors import EnvironmentClashError
from echofm_core.training.config import ExecutionConfig
from server.provision import provision
from tests.federation.small import build_sites, small_plan
from tests.support.hospitals import hospital, joined

GROUPS = {Phase.PRETRAIN: [ENCODER], Phase.FINETUNE: [ENCODER, STF_NET, HEADS]}


def test_the_node_is_told(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'name = "north"\nserver = "fl:443"\nmanifest = "m"\nstore = "s"\nstate = "t"\ndevices = 4\n'
    )
    words = command(tmp_path)
    log_settings(tmp_path)
    assert "node of north starts with threads = 1, " in (tmp_path / "t/site.log").read_text()
    config = words[words.index("--node-config") + 1]
    assert ' threads=1 device="auto" devices=4 accumulate=1 ' in config


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
            train(Request(instruction, plan, site, state, OPEN))


def test_every_setting_of_a_site_reaches_its_rounds(tmp_path: Path) -> None:
    """From ``site.toml`` through Flower's own reading of a node config to what a round is told."""
    chosen = {
        "threads": 2, "device": "cpu", "devices": 3, "accumulate": 4,
        "checkpoint_blocks": True, "compile": True, "save_every": 5,
    }  # fmt: skip
    assert set(chosen) == set(ExecutionConfig.model_fields)
    built = build_sites(tmp_path / "data", ("alpha",))[0]
    paths = {"manifest": str(built.manifest), "store": str(built.store), "state": "state"}
    settings = {"name": "alpha", "server": "fl:443", **paths, **chosen}
    (tmp_path / "site.toml").write_text(tomli_w.dumps(settings))
    words = command(tmp_path)
    config = parse_config_args([words[words.index("--node-config") + 1]])
    assert Site.open(config, small_plan()).execution.settings() == chosen


def test_a_kit_names_every_setting_and_changes_none(tmp_path: Path) -> None:
    """Without its #, each commented line is the default."""
    kit = joined(provision(tmp_path / "fed", "localhost", 8000)[0], "north")
    path = hospital(kit, "north") / "site.toml"
    assert load_site(path.parent).settings() == ExecutionConfig().settings()
    text = path.read_text()
    path.write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.M))
    assert set(ExecutionConfig.model_fields) <= set(tomllib.loads(path.read_text()))
    assert load_site(path.parent).settings() == ExecutionConfig().settings()
