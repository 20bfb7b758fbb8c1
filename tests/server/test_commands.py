"""`echofm server run` refuses what cannot work before it asks the SuperLink for anything."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from echofm_core.runtime.errors import (
    DataRootError,
    EchoFMError,
    FederationError,
    OutputError,
    PlanError,
    ResumeError,
)
from server.commands import admit, propose, provision, revoke, run, start, status, stop
from server.kit import Kit
from server.launch import superlink


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two admitted sites, of which no SuperLink runs: to submit would end otherwise."""
    for name in ("north", "south"):
        (tmp_path / "fed" / "sites").mkdir(parents=True, exist_ok=True)
        (tmp_path / "fed" / "sites" / f"{name}.pub").write_text("")
    (tmp_path / "fed" / "server.toml").write_text("")  # the defaults
    return tmp_path / "fed"


@pytest.mark.parametrize(
    ("text", "taken", "kind", "said"),
    [
        ("[federation]\nmin_sites = 3\n", False, PlanError, r"is 3, but .* 2 sites \(north, south"),
        ('[protocol]\nunseen = ["north"]\n', False, PlanError, "north, but .* every admitted site"),
        ("[federation]\nmin_site = 2\n", False, PlanError, "did you mean `min_sites`"),
        ("[federation]\nmin_sites = 2\n", True, ResumeError, "not empty and holds no run"),
    ],
)
def test_what_cannot_work_is_refused(
    folder: Path, text: str, taken: bool, kind: type[EchoFMError], said: str
) -> None:
    plan, out = folder.parent / "plan.toml", folder.parent / "run"
    plan.write_text(text)
    if taken:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    with pytest.raises(kind, match=said):
        run(folder, plan, out)
    assert out.exists() == taken
    assert not (folder / "runs").exists()


def test_a_plan_with_sites_that_shall_not_train_is_not_proposed(folder: Path) -> None:
    plan = folder.parent / "plan.toml"
    plan.write_text('[protocol]\nunseen = ["north"]\n')
    with pytest.raises(PlanError, match="unseen names north"):
        propose(folder, plan)
    assert not (folder / "plans").exists()


@pytest.mark.parametrize(
    "command",
    [
        partial(admit, site="north", key="node.pub"),
        partial(revoke, site="north"),
        partial(run, plan=Path("plan.toml"), out=Path("run")),
        partial(propose, plan=Path("plan.toml")),
        start,
        status,
        stop,
    ],
    ids=lambda command: getattr(command, "func", command).__name__,
)
def test_a_folder_that_is_no_coordinators_is_refused(
    tmp_path: Path, command: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a plan that is fine; nothing is written into the folder."""
    monkeypatch.chdir(tmp_path)
    Path("plan.toml").write_text("")
    Path("mine").mkdir()
    with pytest.raises(DataRootError, match=r"mine/server\.toml is missing or damaged; write it"):
        command(Path("mine"))
    assert not list(Path("mine").iterdir())


def test_a_port_that_is_taken_is_said_and_not_kept(folder: Path) -> None:
    kit = Kit(folder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            pytest.raises(FederationError, match=rf"^port {port} of 127\.0\.0\.1 cannot be used"),
            superlink(kit, "127.0.0.1", port),
        ):
            pass
    assert kit.ports().local != port


def test_a_port_is_tried_by_the_family_of_its_address(folder: Path) -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        port = server.getsockname()[1]
        with (
            pytest.raises(FederationError, match=r"of ::1 cannot be used \(Address already in use"),
            superlink(Kit(folder), "::1", port),
        ):
            pass


def test_no_federation_is_made_of_a_file(folder: Path) -> None:
    with pytest.raises(OutputError, match="is a file, and a folder is wanted"):
        provision(folder / "server.toml", "fl.example.org")
