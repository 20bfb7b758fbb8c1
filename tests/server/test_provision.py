"""The port that hospitals reach and the coordinator's own are two things."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from echofm_core.runtime.errors import DataRootError
from server.flower import serving
from server.kit import Kit, Ports
from server.provision import provision
from tests.support.hospitals import hospital, joined


def address(kit: Kit) -> str:
    """Where Flower's own commands look for the SuperLink."""
    settings = tomllib.loads((kit.home / "config.toml").read_text())
    return str(settings["superlink"]["federation"]["address"])


def server_of(kit: Kit, site: str) -> str:
    """What a hospital that joins now connects to."""
    joined(kit, site)
    return str(tomllib.loads((hospital(kit, site) / "site.toml").read_text())["server"])


def test_hospitals_reach_the_proxy_and_the_coordinator_its_own_port(tmp_path: Path) -> None:
    kit, _ = provision(tmp_path / "fed", "fl.example.org", 443)
    assert server_of(kit, "north") == "fl.example.org:443"
    assert address(kit) == "127.0.0.1:8000"
    kit.keep_ports(local=18743, health=18744)
    assert address(kit) == "127.0.0.1:18743"
    again, _ = provision(tmp_path / "fed", "fl.example.org", None)
    assert again.ports() == Ports(public=443, local=18743, health=18744)
    assert server_of(kit, "south") == "fl.example.org:443"
    assert address(kit) == "127.0.0.1:18743"


def test_a_folder_that_is_no_kit_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataRootError, match="write it with `echofm server provision`"):
        Kit(tmp_path).ports()


def test_a_port_where_nobody_listens_does_not_serve() -> None:
    assert not serving(1, seconds=1.0)
