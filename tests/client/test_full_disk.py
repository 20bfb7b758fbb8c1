"""A full disk at a site is told as one, wherever it strikes, and nothing half-written is left."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.audit_report import open_chains
from client.kept_reply import FILE as REPLY
from client.preflight import preflight
from echofm_core.contract import Action, Update
from echofm_core.privacy.ledger import Ledger
from echofm_core.runtime.errors import OutputError
from echofm_core.runtime.files import is_partial
from server.wire import read_reply
from simulations.engine import SiteSettings
from simulations.flower_private import become_server
from tests.federation.small import build_sites
from tests.federation.test_hostile_server import Hospital, private, refusal

PLAN = private()
#: Bytes of the site's small disk.
DISK = 64 << 20


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> SiteSettings:
    become_server()
    return build_sites(tmp_path_factory.mktemp("full"), ("alpha",))[0]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small file system to fill")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, left: int) -> None:
    """Leave so many bytes."""
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - left))


@pytest.mark.parametrize(
    ("left", "spent"),
    [
        pytest.param(0, 0, id="record of the training"),
        pytest.param(8 << 10, 0, id="privacy ledger"),
        pytest.param(64 << 10, 1, id="kept reply"),
    ],
)
def test_a_full_disk_is_told_and_mended_by_making_room(
    built: SiteSettings, disk: Path, capfd: pytest.CaptureFixture[str], left: int, spent: int
) -> None:
    """The disk is full after the site has described itself; each file before the last is there."""
    site = Hospital(built, disk)
    site.allow(min_patients=1)
    assert not site.ask(PLAN, Action.DESCRIBE).has_error()
    fill(disk, left)
    reason = refusal(site.ask(PLAN, Action.FINETUNE))
    assert reason.startswith(f"error {OutputError.exit_code}, reference ")
    assert "the disk of <state> at this site is full" in reason and "make room there" in reason
    assert f"the disk of {disk} at this site is full" in capfd.readouterr().err
    assert not [path for path in disk.rglob("*") if is_partial(path.name)]
    assert not (disk / PLAN.run_name() / REPLY).exists()
    assert len(open_chains(disk).audit.records) == 2, "what was refused is in it"
    assert len(Ledger(disk).entries) == spent
    (disk / "filler").unlink()
    plan = PLAN if not spent else private(epsilon=6.0)
    assert read_reply(site.ask(plan, Action.FINETUNE), Update).counts


def test_an_audit_that_has_no_room_lets_nothing_leave(built: SiteSettings, disk: Path) -> None:
    site = Hospital(built, disk)
    site.allow(min_patients=1)
    fill(disk, 0)
    reason = refusal(site.ask(PLAN, Action.DESCRIBE))
    assert "AuditError" in reason and "No space left on device" in reason
    assert "make room there" in reason and "backup" not in reason
    (disk / "filler").unlink()
    assert not site.ask(PLAN, Action.DESCRIBE).has_error()
    assert len(open_chains(disk).audit.records) == 1


def test_the_check_tells_that_there_is_no_room(built: SiteSettings, disk: Path) -> None:
    site = Hospital(built, disk)
    site.allow(min_patients=1)
    fill(disk, 0)
    lines = {line.subject: line for line in preflight(disk, 1, quick=True)}
    assert lines["disk"].exit_code == OutputError.exit_code
    assert "0.00 GB are free" in lines["disk"].words and "make room there" in lines["disk"].words
