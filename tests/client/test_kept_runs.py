"""What lies at a site of a run: its owner's alone, and gone when the hospital wants that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from client.audit import FILE as AUDIT
from client.kept_reply import FILE as REPLY
from client.kept_runs import kept_runs
from client.run_data import FILE as DATA
from client.state import EVALUATIONS, IN_USE
from echofm_core.contract import Action, Update
from echofm_core.data.training_record import KEY, RECORD
from echofm_core.privacy.ledger import FILE as LEDGER
from echofm_core.runtime.errors import PolicyError
from echofm_core.runtime.file_lock import file_lock, is_locked
from server.wire import read_reply
from simulations.engine import SiteSettings
from simulations.flower_private import become_server
from tests.client.test_preflight import command
from tests.federation.small import build_sites
from tests.federation.test_hostile_server import Hospital, private

PLAN = private()
RUN = PLAN.run_name()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("kept"), ("alpha",))[0]


@pytest.fixture(scope="module")
def trained(built: SiteSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that took part in a private round and tested, where files may be read by all."""
    before = os.umask(0o022)
    try:
        hospital = Hospital(built, tmp_path_factory.mktemp("trained"))
        hospital.allow(min_patients=1)
        read_reply(hospital.ask(PLAN, Action.FINETUNE), Update)
        assert not hospital.ask(PLAN, Action.EVALUATE).has_error()
        assert os.umask(0o022) == 0o022, "of this process, as it was"
    finally:
        os.umask(before)
    return hospital.folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of that site's folder, which is its state folder too."""
    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    settings = copy / "site.toml"
    settings.write_text(settings.read_text().replace(str(trained), str(copy)))
    return copy


def test_all_that_a_message_leaves_behind_is_its_owners_alone(trained: Path) -> None:
    left = [path for path in trained.rglob("*") if path.name != "site.toml"]
    assert len(left) > 8
    assert {(path.name, oct(path.stat().st_mode & 0o077)) for path in left} == {
        (path.name, "0o0") for path in left
    }


def test_a_run_goes_and_what_is_of_all_runs_stays(folder: Path) -> None:
    before = {path.name for path in (folder / RUN).iterdir()}
    assert before >= {DATA, REPLY, RECORD, KEY, EVALUATIONS, IN_USE, "predictions.parquet"}
    listed = command("purge", str(folder), "--list").output
    assert f"{RUN}: " in listed and " MB, last written 0 days ago" in listed
    said = command("purge", str(folder), RUN, "--yes").output
    assert said.startswith(f"deleted what was kept of {RUN}: ")
    assert {path.name for path in (folder / RUN).iterdir()} == {RECORD, KEY, EVALUATIONS, IN_USE}
    assert (folder / LEDGER).stat().st_size and (folder / "site.toml").exists()
    assert f"purge of {RUN}: " in command("audit", str(folder)).output
    assert command("audit", str(folder), "--verify").exit_code == 0
    command("purge", str(folder), RUN, "--yes", "--record")
    assert {path.name for path in (folder / RUN).iterdir()} == {EVALUATIONS, IN_USE}


def test_nothing_goes_without_a_yes_or_by_a_name_of_no_run(folder: Path) -> None:
    there = sorted(folder.rglob("*"))
    assert command("purge", str(folder), RUN).exit_code == 1
    assert command("purge", str(folder), "--list", "--record").exit_code == 2
    for name in ("..", "flwr", "nothing"):
        with pytest.raises(Exception, match="holds nothing of a run"):
            command("purge", str(folder), name, "--yes")
    assert sorted(folder.rglob("*")) == there


def test_a_run_stays_while_a_round_of_it_is_in_progress(
    built: SiteSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock that a purge meets is the one that answering a message holds."""
    with file_lock(folder / RUN / IN_USE), pytest.raises(PolicyError, match="in progress here"):
        command("purge", str(folder), RUN, "--yes")
    assert (folder / RUN / DATA).exists()
    held: list[bool] = []

    def look(self: object, *_: object) -> float:
        held.extend(run.busy for run in kept_runs(folder))
        return 0.0

    monkeypatch.setattr("client.policy.Policy.check_work", look)
    Hospital(built, folder).ask(PLAN, Action.FINETUNE)
    assert held == [True] and not is_locked(folder / RUN / IN_USE)
    assert (folder / AUDIT).exists()
