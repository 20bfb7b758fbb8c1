"""Real processes, killed with SIGKILL in the middle of a round, then resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.rounds import run_federation
from simulations.engine import Engine, SiteSettings
from tests.federation.killed import PLAN
from tests.federation.small import with_states

ROOT = Path(__file__).parents[2]


def start(built: Path, folder: Path, workers: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.federation.killed",
            *(str(built), str(folder / "states"), str(folder / "run"), str(workers)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def kill_in_round(process: subprocess.Popen[str], folder: Path, before: str) -> None:
    """SIGKILL once the round after ``before`` has left something at a site."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(before):
            break
    else:
        pytest.fail(f"the run ended before {before}")
    kept = "decoder/round-00002*" if "pretrain" in before else "optimizer/finetune-00002*"
    deadline = time.monotonic() + 30
    while not list((folder / "states" / "alpha").glob(f"*/{kept}")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def digest_of(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Final digest and everything that was printed."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output.rpartition("digest ")[2].strip(), output


@pytest.fixture(scope="module")
def built(built_sites: list[SiteSettings]) -> Path:
    return built_sites[0].manifest.parents[1]


@pytest.fixture(scope="module")
def uninterrupted(built_sites: list[SiteSettings], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the same run in this process."""
    folder = tmp_path_factory.mktemp("whole")
    with Engine(1) as engine:
        sites = with_states(built_sites, folder / "states")
        return run_federation(engine.grid(sites), PLAN, folder / "run").digest


@pytest.mark.parametrize(
    ("before", "workers"),
    [
        ("pretrain round 1/3", 1),
        ("finetune round 1/3", 1),
        pytest.param("finetune round 1/3", 2, marks=pytest.mark.slow),
    ],
)
def test_killed_in_round_two_and_resumed_gives_the_same_bits(
    built: Path, tmp_path: Path, uninterrupted: str, before: str, workers: int
) -> None:
    """The site's own decoder and moments of the killed round are there, and must not be used."""
    process = start(built, tmp_path, workers)
    kill_in_round(process, tmp_path, before)
    phase = before.split()[0]
    assert not (tmp_path / "run" / "journal" / f"{phase}-0002.json").exists()
    digest, output = digest_of(start(built, tmp_path, workers))
    assert digest == uninterrupted
    assert f"{phase} round 1/3" in output and "from the journal" in output
    assert not [path for path in (tmp_path / "run" / "journal").iterdir() if path.suffix != ".json"]
