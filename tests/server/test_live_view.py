"""What a coordinator sees of its last run, and of the sites that it has admitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from echofm_core.live.view import View
from echofm_core.runtime.errors import DataRootError, FederationError
from server import live_view as module
from server.kit import Kit
from server.last_run import note
from server.live_view import CoordinatorSource, view_source
from server.provision import provision
from server.status import SiteStatus, Status, status_of
from server.watch import watch
from tests.live.made import run_toy
from tests.support.commands import Echofm


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """A federation whose SuperLink says that north is there, and east has not come."""
    found = (
        SiteStatus(name="north", state="online", last_seen="2026-11-29T08:56:48Z"),
        SiteStatus(name="east", state="registered", last_seen=None),
    )

    def status(kit: Kit) -> Status:
        silent = status_of(kit)
        return Status(
            folder=silent.folder, host=silent.host, ports=silent.ports, serving=True,
            sites=found, last_run=None,
        )  # fmt: skip

    monkeypatch.setattr(module, "status_of", status)
    return provision(tmp_path / "fed", "fl.example.org", None)[0]


def seen(source: CoordinatorSource) -> View:
    """The view, when the SuperLink has answered."""
    source.view()
    assert source._asking is not None
    source._asking.join(20)
    return source.view()


def test_before_the_first_run_the_admitted_sites_are_there(kit: Kit) -> None:
    view = seen(CoordinatorSource(kit))
    assert (view.state, view.over) == ("waiting", False)
    assert [row[:2] for row in view.tables[0].grid.rows] == [("east", "absent"), ("north", "ready")]


def test_the_command_knows_of_ends_that_the_run_folder_does_not(kit: Kit, tmp_path: Path) -> None:
    run = tmp_path / "run"
    source = view_source(kit.folder)
    with (
        pytest.raises(FederationError),
        watch(kit.folder / "runs") as (report, _),
    ):
        note(report, run)
        view = source()
        assert (view.state, view.sentence) == ("running", "Beginning.")
        run_toy(run)
        assert source().state == "running", "the command has not heard of the end yet"
        assert "toy" in source().title
        raise FederationError("the SuperLink has not answered for 15 s.")
    view = source()
    assert (view.state, view.sentence) == ("failed", "the SuperLink has not answered for 15 s.")
    assert "east" not in str(view.tables), "whoever has come since has no part in it"


def test_a_run_folder_is_shown_as_it_is(echofm: Echofm, tmp_path: Path) -> None:
    run_toy(tmp_path / "run")
    done = echofm("server", "watch", tmp_path / "run")
    assert done.returncode == 0 and "toy  completed" in done.stdout, done.stderr
    with pytest.raises(DataRootError, match="is no folder"):
        view_source(tmp_path / "nowhere")
