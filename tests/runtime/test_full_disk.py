"""A command that meets a full disk says so and ends with its exit code; it is no bug."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import Echofm


def test_a_command_says_that_the_disk_is_full(tmp_path: Path, echofm: Echofm) -> None:
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system to fill")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small file system to fill")
    try:
        ran = echofm("phantom", "hospitals", disk / "data", "--name", "valley", "--patients", 4)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert ran.returncode == 32, ran.stderr
    assert "full" in ran.stderr and "make room there" in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
